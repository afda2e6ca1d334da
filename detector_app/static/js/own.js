// The visitor's own camera, picture or video. The server looks at one picture at a time.

import { byId } from "./dom.js";
import { notify } from "./notice.js";

const WIDTH = 640; // of what is sent of moving pictures
const QUALITY = 0.85;
const RETRY_MS = 1000;

export class Own {
  constructor(connection, view) {
    this.connection = connection;
    this.view = view;
    this.video = byId("own-video");
    this.kind = null; // "camera", "picture" or "video" while it is on show
    this.file = null;
    this.wanted = false; // one is still to be sent
    this.frame = -1; // number of the one whose reads are shown
    this.sent = 0; // how many went over this connection; the server counts along
    this.busy = false; // the server looks at one, maybe at one that is off the screen by now
    this.paused = false;
  }

  get on() {
    return this.kind !== null;
  }

  get moves() {
    return this.kind === "camera" || this.kind === "video";
  }

  async startCamera() {
    if (!navigator.mediaDevices) return notify("browsers give cameras to https:// and localhost only", "bad");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: WIDTH } });
    } catch (error) {
      return notify(`your camera cannot be used: ${error.message}`, "bad");
    }
    this.enter("camera");
    this.video.srcObject = stream;
    await this.video.play();
    this.look();
  }

  async openVideo(file) {
    this.enter("video");
    this.file = URL.createObjectURL(file);
    this.video.src = this.file;
    this.video.loop = true;
    try {
      await this.video.play();
    } catch {
      this.leave();
      return notify(`${file.name} is not a video that this browser can play`, "bad");
    }
    this.look();
  }

  async openPicture(file) {
    const { max_body_bytes: most } = this.view.hello;
    if (file.size > most) return notify(`the picture is larger than ${most / 1e6} MB; choose a smaller one`, "bad");
    let picture;
    try {
      picture = await createImageBitmap(file);
    } catch {
      return notify(`${file.name} is not a picture that can be read`, "bad");
    }
    this.enter("picture");
    this.file = file;
    this.view.show(picture);
    this.look();
  }

  enter(kind) {
    this.leave();
    this.kind = kind;
    this.wanted = true;
    this.frame = -1;
    this.connection.send({ type: "watch", on: false });
    this.view.clear();
    this.view.tell("source");
  }

  leave() {
    if (this.video.srcObject) this.video.srcObject.getTracks().forEach((track) => track.stop());
    this.video.pause();
    this.video.srcObject = null;
    if (this.kind === "video" && this.file) URL.revokeObjectURL(this.file);
    this.video.removeAttribute("src");
    this.kind = this.file = null;
    this.paused = false;
  }

  /** After a new connection, on which nothing is under way. */
  restart() {
    this.busy = false;
    this.sent = 0;
    this.wanted = this.on;
    this.look();
  }

  /** Hear that a read came for a picture of the visitor; whether it is for the one on show. */
  heard(read, last) {
    if (last) this.busy = false;
    const shown = this.on && read.frame === this.frame;
    if (last && this.moves && shown) this.wanted = !this.paused;
    if (!shown) this.look(); // of a picture that is off the screen
    return shown;
  }

  /** Hear that a picture failed. */
  failed() {
    this.busy = false;
    if (!this.moves) return this.look();
    setTimeout(() => {
      this.wanted = this.on;
      this.look();
    }, RETRY_MS);
  }

  /** Look once more: at the same picture, or at the next of those that move. */
  again() {
    this.wanted = this.on;
    this.look();
  }

  /** Send the picture that is wanted as soon as none is under way. */
  async look() {
    if (!this.on || !this.wanted || this.busy || !this.connection.ready) return;
    const { kind, file } = this;
    this.busy = true;
    this.wanted = false;
    let data = file;
    if (this.moves) {
      const picture = await createImageBitmap(this.video);
      data = await encode(picture);
      if (this.kind !== kind) return this.giveUp(picture);
      this.view.show(picture);
    } else if (this.view.reads.length) this.view.restart();
    if (this.kind !== kind || this.file !== file) return this.giveUp();
    this.frame = this.sent++;
    this.connection.sendPicture(data);
  }

  /** Another source was chosen meanwhile. */
  giveUp(picture) {
    if (picture) picture.close();
    this.busy = false;
    this.look();
  }
}

async function encode(picture) {
  const width = Math.min(WIDTH, picture.width);
  const canvas = new OffscreenCanvas(width, Math.round((picture.height * width) / picture.width));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}
