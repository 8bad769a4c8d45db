// Strict msgpack [P-3.9]: what the protocol allows and nothing else. Maps become Map, integers Number where exact, else BigInt.
import { Cutter, join, u16, u32, u64, u8 } from "./bytes.mjs";
import { CODES, ProtocolError } from "./errors.mjs";

const MAX_DEPTH = 16;
const MAX_ITEMS = 4096;
const U64_END = 1n << 64n;

const fail = (text) => new ProtocolError(CODES.BAD_COMMAND, `msgpack: ${text} (field content)`);

/** The one value in `bytes`; throws ProtocolError BAD_COMMAND. */
export function decode(bytes) {
  const source = new Cutter(bytes, () => fail("wrong length"));
  const value = decodeValue({ source, items: 0 }, 0);
  source.end();
  return value;
}

function decodeValue(state, depth) {
  if (++state.items > MAX_ITEMS) throw fail("too many items");
  const { source } = state;
  const tag = source.u8();
  if (tag <= 0x7f) return tag;
  if (tag <= 0x8f) return decodeMap(state, tag & 0x0f, depth + 1);
  if (tag <= 0x9f) return decodeArray(state, tag & 0x0f, depth + 1);
  if (tag <= 0xbf) return decodeText(source.take(tag & 0x1f));
  if (tag >= 0xe0) return tag - 0x100;
  switch (tag) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: return source.take(source.u8());
    case 0xc5: return source.take(source.u16());
    case 0xc6: return source.take(source.u32());
    case 0xcc: return source.u8();
    case 0xcd: return source.u16();
    case 0xce: return source.u32();
    case 0xcf: return exact(source.u64());
    case 0xd0: return source.take(1).readInt8();
    case 0xd1: return source.take(2).readInt16BE();
    case 0xd2: return source.take(4).readInt32BE();
    case 0xd3: return exact(source.take(8).readBigInt64BE());
    case 0xd9: return decodeText(source.take(source.u8()));
    case 0xda: return decodeText(source.take(source.u16()));
    case 0xdb: return decodeText(source.take(source.u32()));
    case 0xdc: return decodeArray(state, source.u16(), depth + 1);
    case 0xdd: return decodeArray(state, source.u32(), depth + 1);
    case 0xde: return decodeMap(state, source.u16(), depth + 1);
    case 0xdf: return decodeMap(state, source.u32(), depth + 1);
    default: throw fail(`type 0x${tag.toString(16)}`);
  }
}

function exact(value) {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function decodeText(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw fail("text that is not UTF-8");
  }
}

function decodeArray(state, count, depth) {
  if (depth > MAX_DEPTH) throw fail("too deep");
  const values = [];
  for (let i = 0; i < count; i++) values.push(decodeValue(state, depth));
  return values;
}

function decodeMap(state, count, depth) {
  if (depth > MAX_DEPTH) throw fail("too deep");
  const map = new Map();
  for (let i = 0; i < count; i++) {
    const key = decodeValue(state, depth);
    if (typeof key !== "string") throw fail("key that is no text");
    if (map.has(key)) throw fail("key twice");
    map.set(key, decodeValue(state, depth));
  }
  return map;
}

/** Bytes of null, booleans, integers (Number or BigInt), text, bytes, arrays, Maps and plain objects, each in its shortest form. */
export function encode(value) {
  if (value === null) return u8(0xc0);
  if (typeof value === "boolean") return u8(value ? 0xc3 : 0xc2);
  if (typeof value === "number" || typeof value === "bigint") return encodeInteger(BigInt(value));
  if (typeof value === "string") return encodeText(value);
  if (value instanceof Uint8Array) return encodeBytes(value);
  if (Array.isArray(value)) return join(head(value.length, 0x90, 16, 0xdc), ...value.map(encode));
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return join(head(entries.length, 0x80, 16, 0xde), ...entries.flatMap(([key, item]) => [encodeText(key), encode(item)]));
}

function encodeInteger(value) {
  if (value < 0n || value >= U64_END) throw new RangeError("the protocol has unsigned integers of 64 bits only");
  if (value < 0x80n) return u8(Number(value));
  if (value < 0x100n) return join(u8(0xcc), u8(Number(value)));
  if (value < 0x10000n) return join(u8(0xcd), u16(Number(value)));
  if (value < 0x100000000n) return join(u8(0xce), u32(Number(value)));
  return join(u8(0xcf), u64(value));
}

function encodeText(text) {
  if (!text.isWellFormed()) throw new RangeError("text with a lone surrogate");
  const bytes = Buffer.from(text, "utf-8");
  if (bytes.length < 32) return join(u8(0xa0 | bytes.length), bytes);
  if (bytes.length < 0x100) return join(u8(0xd9), u8(bytes.length), bytes);
  return bytes.length < 0x10000 ? join(u8(0xda), u16(bytes.length), bytes) : join(u8(0xdb), u32(bytes.length), bytes);
}

function encodeBytes(bytes) {
  if (bytes.length < 0x100) return join(u8(0xc4), u8(bytes.length), bytes);
  return bytes.length < 0x10000 ? join(u8(0xc5), u16(bytes.length), bytes) : join(u8(0xc6), u32(bytes.length), bytes);
}

function head(count, small, smallEnd, wide) {
  return count < smallEnd ? u8(small | count) : join(u8(wide), u16(count));
}
