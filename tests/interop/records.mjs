// Records (§2): one direction's key, iv and sequence, sealing and opening the contents of frames. Nothing here knows messages.
import { webcrypto } from "node:crypto";
import { u32 } from "./bytes.mjs";
import { CODES, ProtocolError } from "./errors.mjs";

const { subtle } = webcrypto;
export const TAG_BYTES = 16;
const MAX_RECORDS = 2 ** 24; // [P-2.5]
const MAX_CONTENT_BYTES = 64 * 2 ** 30;
const REKEY_RECORDS = 2 ** 20;
const REKEY_CONTENT_BYTES = 4 * 2 ** 30;

export function nonceFor(iv, sequence) {
  const nonce = Buffer.from(iv);
  nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ BigInt(sequence), 4);
  return nonce;
}

const cipher = (nonce, aad) => ({ name: "AES-GCM", iv: nonce, additionalData: aad, tagLength: TAG_BYTES * 8 });

export async function gcmSeal(key, nonce, plaintext, aad) {
  const imported = await subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  return Buffer.from(await subtle.encrypt(cipher(nonce, aad), imported, plaintext));
}

/** Throws a ProtocolError that is the same for every cause [P-2.4]. */
export async function gcmOpen(key, nonce, sealed, aad, code = CODES.BAD_RECORD) {
  const imported = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  try {
    return Buffer.from(await subtle.decrypt(cipher(nonce, aad), imported, sealed));
  } catch {
    throw new ProtocolError(code, "it did not open");
  }
}

/** One direction under one key. `failure`: the code when a content does not open (BAD_RECORD, in a login BAD_HANDSHAKE). */
export class Direction {
  constructor({ key, iv }, failure = CODES.BAD_RECORD) {
    this.key = key;
    this.iv = iv;
    this.failure = failure;
    this.sequence = 0;
    this.contentBytes = 0;
  }

  /** The content of the next frame. */
  async seal(plaintext) {
    const nonce = this.#next(plaintext.length + TAG_BYTES);
    return gcmSeal(this.key, nonce, plaintext, u32(plaintext.length + TAG_BYTES));
  }

  /** The plaintext of the next frame's content. */
  async open(content) {
    return gcmOpen(this.key, this.#next(content.length), content, u32(content.length), this.failure);
  }

  /** Whether a terminal starts a rekey for this direction's sake [P-2.5]. */
  get isWorn() { return this.sequence >= REKEY_RECORDS || this.contentBytes >= REKEY_CONTENT_BYTES; }

  #next(contentBytes) {
    if (this.sequence >= MAX_RECORDS || this.contentBytes + contentBytes > MAX_CONTENT_BYTES) {
      throw new ProtocolError(CODES.REKEY_REQUIRED, "the key is used up");
    }
    this.contentBytes += contentBytes;
    return nonceFor(this.iv, this.sequence++);
  }
}
