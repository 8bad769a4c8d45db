// Big-endian numbers, joining and cutting of byte strings. Nothing here knows what the bytes mean.

export const EMPTY = Buffer.alloc(0);

export const join = (...parts) => Buffer.concat(parts);
export const ascii = (text) => Buffer.from(text, "ascii");
export const fromHex = (text) => Buffer.from(text, "hex");
export const toHex = (bytes) => Buffer.from(bytes).toString("hex");
export const isEqual = (a, b) => Buffer.compare(a, b) === 0;
export const isZero = (bytes) => bytes.every((byte) => byte === 0);

export const u8 = (value) => Buffer.from([value]);

export function u16(value) {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Cuts fields off the front of `bytes`; `fail()` makes the error thrown when they run out or are left over. */
export class Cutter {
  constructor(bytes, fail) {
    this.bytes = bytes;
    this.offset = 0;
    this.fail = fail;
  }

  take(count) {
    if (this.offset + count > this.bytes.length) throw this.fail();
    const part = this.bytes.subarray(this.offset, this.offset + count);
    this.offset += count;
    return part;
  }

  u8() { return this.take(1)[0]; }
  u16() { return this.take(2).readUInt16BE(); }
  u32() { return this.take(4).readUInt32BE(); }
  u64() { return this.take(8).readBigUInt64BE(); }

  rest() { return this.take(this.bytes.length - this.offset); }

  end() {
    if (this.offset !== this.bytes.length) throw this.fail();
  }
}
