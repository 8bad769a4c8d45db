// One TCP connection as a stream of frame contents. Nothing here knows keys or messages.
import net from "node:net";
import { CODES, ConnectionLost, ProtocolError } from "./errors.mjs";
import { FrameReader, encodeFrame } from "./frames.mjs";

const MAX_WAITING_FRAMES = 64;

export class Link {
  constructor(socket) {
    this.socket = socket;
    this.frames = new FrameReader();
    this.waiting = [];
    this.wake = null;
    this.end = null; // null while open; then the error, or "end" for a clean end of the stream
    socket.setNoDelay(true);
    socket.on("data", (bytes) => this.#arrived(bytes));
    socket.on("end", () => this.#ended("end"));
    socket.on("close", () => this.#ended("end"));
    socket.on("error", (error) => this.#ended(new ConnectionLost(error.message)));
  }

  /** A connected link; throws ConnectionLost. */
  static dial(host, port, timeoutMs = 5000) {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port });
      const fail = (text) => { socket.destroy(); reject(new ConnectionLost(`${host}:${port}: ${text}`)); };
      socket.setTimeout(timeoutMs, () => fail("no answer"));
      socket.once("error", (error) => fail(error.message));
      socket.once("connect", () => {
        socket.setTimeout(0);
        socket.removeAllListeners("error");
        resolve(new Link(socket));
      });
    });
  }

  /** From now on frames may be `cap` bytes long. */
  raiseCap(cap) { this.frames.cap = cap; }

  /** The next content, or null at the end of the stream; throws ProtocolError, ConnectionLost, or TIMEOUT after `timeoutMs`. */
  async receive(timeoutMs = null) {
    const deadline = timeoutMs === null ? null : performance.now() + timeoutMs;
    while (this.waiting.length === 0) {
      if (this.end === "end") return null;
      if (this.end) throw this.end;
      await this.#somethingHappens(deadline);
    }
    const content = this.waiting.shift();
    if (this.waiting.length === 0) this.socket.resume();
    return content;
  }

  send(content) {
    if (!this.end) this.socket.write(encodeFrame(content));
  }

  /** Ends the connection after what was sent is written. */
  close() {
    this.socket.end();
    this.socket.destroySoon();
  }

  #somethingHappens(deadline) {
    return new Promise((resolve, reject) => {
      const timer = deadline === null ? null : setTimeout(() => {
        this.wake = null;
        reject(new ProtocolError(CODES.TIMEOUT, "the server did not answer"));
      }, Math.max(0, deadline - performance.now()));
      this.wake = () => { clearTimeout(timer); this.wake = null; resolve(); };
    });
  }

  #arrived(bytes) {
    try {
      this.waiting.push(...this.frames.push(bytes));
    } catch (error) {
      this.waiting.push(...error.contents);
      this.#ended(error);
      this.close();
    }
    if (this.waiting.length > MAX_WAITING_FRAMES) this.socket.pause();
    this.wake?.();
  }

  #ended(how) {
    this.end ??= how;
    this.wake?.();
  }
}
