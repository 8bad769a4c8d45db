// Frames (§1): bytes of a TCP stream to whole contents and back. No socket here; link.mjs has that.
import { EMPTY, join, u32 } from "./bytes.mjs";
import { CODES, ProtocolError, Refused } from "./errors.mjs";

export const HANDSHAKE_CAP = 4096; // [P-1.2]
export const SESSION_CAP = 65536;
export const VERSION = 1;
const ERROR_KIND = 0xff;

export const encodeFrame = (content) => join(u32(content.length), content);

/** Collects bytes and hands out whole contents; a forbidden length is refused at its header [P-1.2]. */
export class FrameReader {
  constructor(cap = HANDSHAKE_CAP) {
    this.cap = cap;
    this.pending = EMPTY;
  }

  /** All contents that are whole by now. Throws ProtocolError BAD_FRAME; earlier contents of this call are in `error.contents`. */
  push(bytes) {
    this.pending = this.pending.length ? join(this.pending, bytes) : bytes;
    const contents = [];
    while (this.pending.length >= 4) {
      const length = this.pending.readUInt32BE();
      if (length === 0 || length > this.cap) {
        throw Object.assign(new ProtocolError(CODES.BAD_FRAME, `frame length ${length}`), { contents });
      }
      if (this.pending.length < 4 + length) break;
      contents.push(this.pending.subarray(4, 4 + length));
      this.pending = this.pending.subarray(4 + length);
    }
    return contents;
  }
}

/** Throws what an error flight says, if `content` is one [P-1.4]. */
export function throwIfErrorFlight(content, where) {
  if (content.length === 4 && content[0] === VERSION && content[1] === ERROR_KIND) {
    throw new Refused(content.readUInt16BE(2), where);
  }
}

/** The flight's bytes after version and kind; throws UNSUPPORTED_VERSION or BAD_HANDSHAKE. */
export function openFlight(flight, kind) {
  if (flight.length < 2) throw new ProtocolError(CODES.BAD_HANDSHAKE, "flight of less than two bytes");
  if (flight[0] !== VERSION) throw new ProtocolError(CODES.UNSUPPORTED_VERSION, `version ${flight[0]}`);
  if (flight[1] !== kind) throw new ProtocolError(CODES.BAD_HANDSHAKE, `flight kind ${flight[1]} in place of ${kind}`);
  return flight.subarray(2);
}

export const encodeFlight = (kind, ...parts) => join(Buffer.from([VERSION, kind]), ...parts);
