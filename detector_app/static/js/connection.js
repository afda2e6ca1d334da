// The WebSocket. The messages are described in detector_app/http/live.py.

const RETRY_MS = 1000;

/** Dispatches "open", "close", "frame" (an ArrayBuffer), and one event for every type of message. */
export class Connection extends EventTarget {
  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.tell("open");
    this.socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return this.tell("frame", data);
      const message = JSON.parse(data);
      this.tell(message.type, message);
    };
    this.socket.onclose = () => {
      this.tell("close");
      setTimeout(() => this.open(), RETRY_MS);
    };
  }

  get ready() {
    return this.socket !== undefined && this.socket.readyState === WebSocket.OPEN;
  }

  send(message) {
    if (this.ready) this.socket.send(JSON.stringify(message));
  }

  sendPicture(blob) {
    if (this.ready) this.socket.send(blob);
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
