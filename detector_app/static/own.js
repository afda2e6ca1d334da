"use strict";

// The visitor's own pictures: a camera, or a file. The server looks at one at a time.

const CAMERA = "my camera";
const PICTURE = "a picture…";
const CAMERA_WIDTH = 640;

// {stream | file, wanted, frame} while they are on show: `wanted` while one is still to be sent,
// `frame` the number of the one whose reads are shown.
let own = null;
let ownBusy = false; // the server looks at one, maybe at one that is off the screen by now
let ownSent = 0; // how many went over this connection; the server counts along

function enterOwn(next) {
  leaveOwn();
  own = { ...next, wanted: true, frame: -1 };
  send({ type: "watch", on: false });
  stage.clear();
  latencies = [];
  buildSources();
}

function leaveOwn() {
  if (own && own.stream) stopCamera(own.stream);
  own = null;
  frameId = -1;
  latencies = [];
  stage.settled = stage.result = null;
}

/** Back to a source of the server. */
function watchServer(name) {
  leaveOwn();
  send({ type: "watch", on: true, source: name });
  buildSources();
}

/** After a new connection, on which nothing is under way. */
function restartOwn() {
  ownBusy = false;
  ownSent = 0;
  if (own) own.wanted = true;
  lookAtOwn();
}

function failOwn() {
  ownBusy = false;
  if (own && own.stream) setTimeout(() => { if (own) own.wanted = true; lookAtOwn(); }, 1000);
  else lookAtOwn();
}

/** Send the picture that is wanted as soon as none is under way. */
async function lookAtOwn() {
  const mine = own;
  if (!mine || !mine.wanted || ownBusy || socket.readyState !== WebSocket.OPEN) return;
  ownBusy = true;
  mine.wanted = false;
  const connection = socket;
  try {
    const [data, bitmap] = mine.stream ? await grab() : [await mine.file.arrayBuffer(), null];
    if (own === mine && socket === connection && socket.readyState === WebSocket.OPEN) {
      if (bitmap) stage.show(bitmap);
      mine.frame = ownSent++;
      socket.send(data);
      tick("frames");
      return;
    }
    if (bitmap) bitmap.close();
    if (socket !== connection) return; // restartOwn() has begun anew, or will
    ownBusy = false;
    lookAtOwn();
  } catch (error) {
    notify(`the picture cannot be sent (${error.name})`, "bad");
    if (socket === connection) failOwn();
  }
}

// --- camera ---------------------------------------------------------------------------------

async function startCamera() {
  if (!navigator.mediaDevices) return notify("the browser gives a page its camera only over https or on localhost", "bad");
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: CAMERA_WIDTH } });
    $("camera").srcObject = stream;
    await $("camera").play();
  } catch (error) {
    if (stream) stopCamera(stream);
    return notify(`the camera cannot be used (${error.name}); allow it or choose another source`, "bad");
  }
  stream.getVideoTracks()[0].onended = () => {
    if (!own || own.stream !== stream) return;
    notify("the camera stopped; connect it again or choose another source", "bad");
    watchServer();
  };
  enterOwn({ stream });
  lookAtOwn();
}

function stopCamera(stream) {
  stream.getTracks().forEach((track) => track.stop());
}

/** The camera's present picture as JPEG and as bitmap. */
async function grab() {
  const video = $("camera");
  const scale = Math.min(1, CAMERA_WIDTH / video.videoWidth);
  const canvas = new OffscreenCanvas(Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
  return [await blob.arrayBuffer(), await createImageBitmap(canvas)];
}

// --- file -----------------------------------------------------------------------------------

async function openFile(file) {
  if (!hello) return notify("wait until the page is connected", "bad");
  if (file.size > hello.max_body_bytes)
    return notify(`the picture is larger than ${hello.max_body_bytes / 1e6} MB; choose a smaller one`, "bad");
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return notify(`${file.name} is not a picture that can be read`, "bad");
  }
  enterOwn({ file });
  stage.show(picture);
  dirty = true;
  lookAtOwn();
}
