// Messages (§3, §7): one message to bytes and back, and the plaintext of a record as a list of messages. No keys, no socket.
import { Cutter, EMPTY, join, u64, u8 } from "./bytes.mjs";
import { CODES, ProtocolError } from "./errors.mjs";

export const COMMANDS = Object.freeze({
  PING: 1, USER_MESSAGE: 2, GROUP_MESSAGE: 3, FILE_OFFER: 4, FILE_ANSWER: 5, FILE_TOKEN: 6, RECEIPT: 7, GOODBYE: 8, PRESENCE: 9,
  OFFLINE_FETCH: 10, SIGNATURE: 11, FRIENDS: 12, FRIENDS_ONLINE: 13, FRIEND_CHANGE: 14, GROUP: 15, FILE_STORE: 16, SERVERS: 17,
  REKEY: 18, TOKEN: 19, LOOKUP: 20, ACCOUNT: 21,
});
// The commands whose center → terminal column is "–": from a center they are legal as replies only [P-7.1].
const ONLY_REPLIES = new Set([
  COMMANDS.OFFLINE_FETCH, COMMANDS.SIGNATURE, COMMANDS.FRIENDS, COMMANDS.FRIENDS_ONLINE, COMMANDS.FILE_STORE, COMMANDS.TOKEN, COMMANDS.LOOKUP,
]);
export const QOS_1 = 1;
export const FIRST = 1 << 4;
export const ERROR = 1 << 5;
export const REPLY = 1 << 6;
export const ADDRESS = 1 << 7;
const QOS_MASK = 0b11;
const RESERVED = 0b1100;

export const PING_ASKS = Object.freeze({ command: COMMANDS.PING, isAsking: true });
export const PING_ANSWERS = Object.freeze({ command: COMMANDS.PING, isAsking: false });

const HEAD_BYTES = 26; // command, flags, user, target, time
const ADDRESS_BYTES = 16;
const TAIL_BYTES = 24; // [P-3.10]
export const MAX_BODY_BYTES = 32768;
export const MAX_PAIRS = 2048;

const badFrame = (text) => new ProtocolError(CODES.BAD_FRAME, text);

export const isReply = (message) => (message.flags & REPLY) !== 0;
export const isError = (message) => (message.flags & ERROR) !== 0;
export const qosOf = (message) => message.flags & QOS_MASK;

/** The length field of a message with `bytesAfter` bytes behind it [P-3.2]. */
export function encodeLength(bytesAfter) {
  if (bytesAfter + 1 <= 0x7f) return u8(bytesAfter + 1);
  if (bytesAfter + 2 <= 0x3fff) return Buffer.from([((bytesAfter + 2) & 0x7f) | 0x80, (bytesAfter + 2) >> 7]);
  const total = bytesAfter + 3;
  return Buffer.from([(total & 0x7f) | 0x80, ((total >> 7) & 0x7f) | 0x80, total >> 14]);
}

/** `{total, size}`: what the length field at the start of `bytes` says, and its own size; throws BAD_FRAME. */
export function decodeLength(bytes) {
  let total = 0;
  for (let size = 1; size <= 3; size++) {
    if (size > bytes.length) throw badFrame("length field cut off");
    const byte = bytes[size - 1];
    total |= (byte & 0x7f) << (7 * (size - 1));
    if (byte & 0x80) continue;
    if (total < size || !encodeLength(total - size).equals(bytes.subarray(0, size))) throw badFrame("length field not the shortest");
    return { total, size };
  }
  throw badFrame("length field too long");
}

/** A message: `{command, flags, user, target, time: BigInt, address: [endpoint, center] | null, content}`, or a PING. */
export function encodeMessage(message) {
  if (message.command === COMMANDS.PING) return Buffer.from([3, COMMANDS.PING, message.isAsking ? 1 : 0]);
  const address = message.address ? join(u64(message.address[0]), u64(message.address[1])) : EMPTY;
  const rest = join(
    u8(message.command), u8(message.flags), u64(message.user), u64(message.target), address, u64(message.time), message.content,
  );
  return join(encodeLength(rest.length), rest);
}

/** The messages of a record's plaintext, in order; `from`: "terminal" or "center". Throws ProtocolError. */
export function decodeRecord(plaintext, from) {
  const messages = [];
  for (let rest = plaintext; rest.length > 0;) {
    const { total, size } = decodeLength(rest);
    if (total > rest.length) throw badFrame("message runs past its record");
    const message = decodeMessage(rest.subarray(size, total), from);
    rest = rest.subarray(total);
    if (message.command === COMMANDS.REKEY && rest.length) throw new ProtocolError(CODES.BAD_COMMAND, "REKEY does not end its record");
    messages.push(message);
  }
  return messages;
}

function decodeMessage(bytes, from) {
  if (bytes[0] === COMMANDS.PING) {
    if (bytes.length !== 2 || bytes[1] > 1) throw badFrame("PING of another form");
    return bytes[1] === 1 ? PING_ASKS : PING_ANSWERS;
  }
  if (bytes.length < HEAD_BYTES) throw badFrame("message too short");
  const source = new Cutter(bytes, () => badFrame("message too short"));
  const message = {
    command: source.u8(), flags: source.u8(), user: source.u64(), target: source.u64(), time: 0n, address: null,
  };
  checkFlags(message, from);
  if (message.flags & ADDRESS) {
    if (bytes.length < HEAD_BYTES + ADDRESS_BYTES) throw badFrame("no room for the address");
    message.address = [source.u64(), source.u64()];
  }
  message.time = source.u64();
  message.content = source.rest();
  return message;
}

function checkFlags({ command, flags }, from) {
  if (flags & RESERVED || (flags & QOS_MASK) > QOS_1) throw badFrame("reserved flags");
  if (command === COMMANDS.REKEY && flags & ~REPLY) throw badFrame("REKEY with flags");
  if (flags & ERROR && !(flags & REPLY) && command !== COMMANDS.GOODBYE) throw badFrame("error without reply");
  const mayBeFirst = from === "terminal" && !(flags & REPLY) && (command === COMMANDS.USER_MESSAGE || command === COMMANDS.GROUP_MESSAGE);
  if (flags & FIRST && !mayBeFirst) throw badFrame("first where it has no place");
}

/** Throws BAD_COMMAND if a center may not say this [P-7.1]; what a terminal does not know is not looked at. */
export function checkFromCenter(message) {
  if (ONLY_REPLIES.has(message.command) && !isReply(message)) {
    throw new ProtocolError(CODES.BAD_COMMAND, `command ${message.command} from a center`);
  }
}

/** `{body, entered, id, left}` of the content of a USER_MESSAGE from a center [P-3.10]. */
export function splitDelivered(content) {
  if (content.length < TAIL_BYTES) throw new ProtocolError(CODES.BAD_COMMAND, "delivered message without its three numbers");
  const body = content.subarray(0, content.length - TAIL_BYTES);
  const [entered, id, left] = [24, 16, 8].map((back) => content.readBigUInt64BE(content.length - back));
  return { body, entered, id, left };
}

export const encodeReceipt = (kind, pairs) => join(u8(kind), ...pairs.map(([first, second]) => join(u64(first), u64(second))));

/** `{kind, pairs}` of a RECEIPT's content; throws BAD_COMMAND [P-7.2, P-7.3]. */
export function decodeReceipt(content, kinds) {
  const pairBytes = content.length - 1;
  if (pairBytes < 16 || pairBytes % 16 || pairBytes / 16 > MAX_PAIRS || !kinds.includes(content[0])) {
    throw new ProtocolError(CODES.BAD_COMMAND, "RECEIPT of another form (field content)");
  }
  const pairs = [];
  for (let at = 1; at < content.length; at += 16) pairs.push([content.readBigUInt64BE(at), content.readBigUInt64BE(at + 8)]);
  return { kind: content[0], pairs };
}
