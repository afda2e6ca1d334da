// What is on show: a picture, its reads, and which of them; the server's and the visitor's alike.

/**
 * Dispatches "picture" (another is on show), "read" (one came for it), "select" (another read of it
 * is shown), "hello" and "settings".
 */
export class View extends EventTarget {
  constructor() {
    super();
    this.hello = null;
    this.settings = {};
    this.picture = null; // ImageBitmap
    this.reads = []; // messages of the picture on show, first to last
    this.before = null; // last read of the picture before
    this.chosen = null; // index into reads while the visitor looks back; null for the newest
    this.paused = false;
  }

  welcome(hello) {
    this.hello = hello;
    this.apply(hello.settings);
    this.tell("hello");
  }

  apply(settings) {
    this.settings = settings;
    this.tell("settings");
  }

  /** Show another picture, of which no read has come. */
  show(picture) {
    if (this.picture && this.picture !== picture) this.picture.close();
    if (this.done) this.before = this.newest;
    this.picture = picture;
    this.reads = [];
    this.chosen = null;
    this.tell("picture");
  }

  clear() {
    if (this.picture) this.picture.close();
    this.picture = this.before = this.chosen = null;
    this.reads = [];
    this.tell("picture");
  }

  /** Look again at the picture on show. */
  restart() {
    this.reads = [];
    this.chosen = null;
  }

  add(read) {
    if (read.read === 1) this.restart();
    this.reads.push(read);
    this.tell("read", read);
  }

  choose(index) {
    this.chosen = Math.max(0, Math.min(this.reads.length - 1, index));
    this.tell("select");
  }

  get newest() {
    return this.reads.length ? this.reads[this.reads.length - 1] : null;
  }

  /** How many reads the picture on show gets at most. */
  get expected() {
    const said = (this.newest ?? this.before)?.reads ?? this.settings.reads;
    return typeof said === "number" ? said : 0;
  }

  /** The read that is shown. */
  get read() {
    return this.chosen === null ? this.newest : this.reads[this.chosen];
  }

  /** Whether all reads of the picture came. */
  get done() {
    return this.newest !== null && isLast(this.newest);
  }

  colour(label) {
    const known = this.hello && this.hello.classes[label];
    return known ? known.colour : "#ffffff";
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Whether a read is the last of its picture: with `auto` it may come before the most. */
export const isLast = (read) => (read.last === undefined ? read.read === read.reads : read.last);
