// Checks the worked examples of §12 both ways. Login and center, which are long, are in vectors_handshakes.mjs.
import fs from "node:fs";
import { fromHex, join, toHex, u16, u32, u64, u8 } from "./bytes.mjs";
import { ProtocolError } from "./errors.mjs";
import { Fields, errorMap, renewalOf, serverList, userOf } from "./fields.mjs";
import { FrameReader, encodeFrame } from "./frames.mjs";
import { accountStructureOf } from "./accounts.mjs";
import { canonicalFriends, canonicalGroups, friendStructureOf, hashList } from "./friends.mjs";
import { answerOf, fetchOf, fetchedOf, pushOf, requestOf, settledNumber, splitGroupDelivered } from "./groups.mjs";
import { x25519KeyPair } from "./hkdf.mjs";
import { ENC_BYTES, hpkeOpen, hpkeSeal, hpkeSecrets, pad, unpad } from "./hpke.mjs";
import * as messages from "./messages.mjs";
import * as msgpack from "./msgpack.mjs";
import { Direction, gcmOpen, gcmSeal, nonceFor } from "./records.mjs";
import { checkCenter, checkLogin, checkRekey } from "./vectors_handshakes.mjs";
import { Book, Mismatch } from "./worked_examples.mjs";

const { COMMANDS } = messages;

function framesAtOnceAndByteByByte(bytes, cap) {
  const whole = tryFrames([bytes], cap);
  const single = tryFrames([...bytes].map((byte) => Buffer.from([byte])), cap);
  if (JSON.stringify(whole) !== JSON.stringify(single)) throw new Mismatch("frames depend on how the bytes are cut");
  return whole;
}

function tryFrames(pieces, cap) {
  const reader = new FrameReader(cap);
  const contents = [];
  try {
    for (const piece of pieces) contents.push(...reader.push(piece));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { contents: [...contents, ...error.contents].map(toHex), error: error.code };
  }
  return { contents: contents.map(toHex), error: null };
}

async function checkFrames(book) {
  for (const one of book.list("cases")) {
    const bytes = one.bytes("bytes");
    const got = framesAtOnceAndByteByByte(bytes, one.raw("cap"));
    one.equal("contents", got.contents, one.raw("contents"));
    one.equal("error", got.error, one.raw("error"));
    const encoded = join(...got.contents.map((content) => encodeFrame(fromHex(content))));
    one.equal("start of the bytes", toHex(bytes.subarray(0, encoded.length)), toHex(encoded));
    one.end();
  }
}

async function checkVarints(book) {
  for (const one of book.list("cases")) {
    const [after, total] = [one.raw("bytes_after"), one.raw("total")];
    const length = messages.encodeLength(after);
    one.same("length", length);
    one.equal("decoded length", messages.decodeLength(length), { total, size: length.length });
    one.equal("total", length.length + after, total);
    one.end();
  }
  for (const start of book.raw("bad")) {
    for (const zeros of [0, 64, 65000]) {
      const record = join(fromHex(start), Buffer.alloc(zeros));
      await book.refused(`${start} and ${zeros} zeros`, 1, () => messages.decodeRecord(record, "terminal"));
    }
  }
}

const messageOf = (one) => ({
  command: one.raw("command"), flags: one.raw("flags"), user: BigInt(one.raw("user")), target: BigInt(one.raw("target")),
  time: BigInt(one.raw("time")), address: one.raw("address")?.map(BigInt) ?? null, content: one.bytes("content"),
});

const printable = (message) => JSON.stringify(message, (_, value) => (typeof value === "bigint" ? String(value) : value));

async function checkMessages(book) {
  const pings = [["ping_asks", messages.PING_ASKS], ["ping_answers", messages.PING_ANSWERS]];
  for (const [name, ping] of pings) {
    book.same(name, messages.encodeMessage(ping));
    book.equal(name, messages.decodeRecord(book.bytes(name), "center"), [ping]);
  }
  for (const one of book.list("cases")) {
    const message = messageOf(one);
    const bytes = messages.encodeMessage(message);
    one.same("bytes", bytes);
    const [ping, decoded] = messages.decodeRecord(join(messages.encodeMessage(messages.PING_ASKS), bytes), one.raw("from"));
    one.equal("decoded message", printable(decoded), printable(message));
    one.equal("what stands before the message", ping, messages.PING_ASKS);
    checkContent(one, message);
    one.end();
  }
  for (const one of book.list("bad")) {
    await one.refused("the record", one.raw("error"), () => messages.decodeRecord(one.bytes("bytes"), "terminal"));
    one.end();
  }
}

/** Structured contents, both ways. */
function checkContent(one, message) {
  const { command, content } = message;
  const isFromCenter = one.raw("from") === "center";
  if (isFromCenter) messages.checkFromCenter(message);
  if (command === COMMANDS.USER_MESSAGE && isFromCenter && !messages.isReply(message)) {
    const { body, entered, id, left } = messages.splitDelivered(content);
    one.same("body", body);
    return one.same("content", join(body, u64(entered), u64(id), u64(left)));
  }
  if (command === COMMANDS.GROUP_MESSAGE && isFromCenter && !messages.isError(message)) return checkPost(one, message);
  if (command === COMMANDS.RECEIPT && content.length) {
    const { kind, pairs } = messages.decodeReceipt(content, isFromCenter ? [3, 4] : [1, 2]);
    return one.same("content", messages.encodeReceipt(kind, pairs));
  }
  const structure = structureOf(message, isFromCenter);
  if (structure) {
    const map = msgpack.decode(content);
    structure(new Fields(map));
    one.same("content", msgpack.encode(map));
  }
}

function checkPost(one, message) {
  const { content } = message;
  if (messages.isReply(message)) return one.same("content", join(u8(2), u64(settledNumber(content))));
  const { number, accepted, body, entered, id, left } = splitGroupDelivered(content);
  one.same("body", body);
  one.equal("number", String(number), one.raw("number"));
  one.equal("accepted", String(accepted), one.raw("accepted"));
  return one.equal("end of the content", toHex(content.subarray(-24)), toHex(join(u64(entered), u64(id), u64(left))));
}

function structureOf(message, isFromCenter) {
  if (messages.isError(message)) return errorMap;
  if (message.command === COMMANDS.SERVERS && isFromCenter) return serverList;
  if (message.command === COMMANDS.GROUP) return isFromCenter ? (messages.isReply(message) ? answerOf : pushOf) : requestOf;
  if (message.command === COMMANDS.OFFLINE_FETCH && message.target) return isFromCenter ? fetchedOf : fetchOf;
  if (message.command === COMMANDS.TOKEN && isFromCenter) return renewalOf;
  if (message.command === COMMANDS.LOOKUP) return isFromCenter ? userOf : (fields) => (fields.has("user") ? fields.u64("user") : fields.text("name"));
  const isReply = messages.isReply(message);
  return accountStructureOf(message.command, isFromCenter, isReply) ?? friendStructureOf(message.command, isFromCenter, isReply);
}

function friendOf(one) {
  const friend = {
    user: BigInt(one.raw("user")), name: one.raw("name"), remark: one.raw("remark"), displayName: one.raw("display_name"),
    avatar: one.raw("avatar"), signature: one.raw("signature"),
  };
  one.end();
  return friend;
}

async function checkFriends(book) {
  for (const one of book.list("cases")) {
    const books = one.list("groups");
    const groups = books.map((each) => ({
      id: each.raw("id"), position: each.raw("position"), name: each.raw("name"), friends: each.list("friends").map(friendOf),
    }));
    const { root, hashes } = hashList(groups);
    books.forEach((each, i) => {
      each.same("canonical", canonicalFriends(groups[i].friends));
      each.same("hash", hashes.get(groups[i].id));
      each.end();
    });
    one.same("canonical", canonicalGroups(groups));
    one.same("root", root);
    one.end();
  }
}

async function checkRecords(book) {
  const keys = { key: book.bytes("key"), iv: book.bytes("iv") };
  const [out, back] = [new Direction(keys), new Direction(keys)];
  for (const one of book.list("cases")) {
    one.equal("sequence", out.sequence, one.raw("sequence"));
    one.same("nonce", nonceFor(keys.iv, one.raw("sequence")));
    one.same("frame", encodeFrame(await out.seal(one.bytes("plaintext"))));
    const content = one.bytes("frame").subarray(4);
    const flipped = Buffer.from(content);
    flipped[0] ^= 1;
    const other = Object.assign(new Direction(keys), { sequence: back.sequence });
    await one.refused("a flipped bit", 4, () => other.open(flipped));
    one.same("plaintext", await back.open(content));
    one.end();
  }
}

async function checkHpke(book) {
  for (const one of book.list("cases")) {
    const receiver = await x25519KeyPair(one.bytes("receiver_private"));
    one.same("receiver_public", receiver.public);
    const info = one.bytes("info");
    const structure = one.bytes("structure");
    one.same("structure", msgpack.encode(msgpack.decode(structure)));
    one.same("plaintext", pad(structure));
    const ephemeral = () => x25519KeyPair(one.bytes("sender_ephemeral_private"));
    const sealed = await hpkeSeal(receiver.public, info, pad(structure), ephemeral);
    one.same("sealed", sealed);
    one.same("enc", sealed.subarray(0, ENC_BYTES));
    const secrets = await hpkeSecrets(receiver, one.bytes("enc"), info);
    one.same("shared_secret", secrets.sharedSecret);
    one.same("key", secrets.key);
    one.same("nonce", secrets.nonce);
    one.same("structure", unpad(await hpkeOpen(receiver, info, one.bytes("sealed"))));
    one.end();
  }
}

async function checkToken(book) {
  const head = join(u8(1), u32(book.raw("key_id")), book.bytes("nonce"));
  const times = ["authenticated", "issued", "expires"].map((name) => u64(book.raw(name)));
  const content = join(
    u64(book.raw("user")), u8(book.raw("slot")), book.bytes("terminal_public"), book.bytes("session_key"),
    u32(book.raw("user_generation")), u32(book.raw("terminal_generation")), ...times,
  );
  const [key, nonce] = [book.bytes("key"), book.bytes("nonce")];
  book.same("token", join(head, await gcmSeal(key, nonce, content, head)));
  const opened = await gcmOpen(key, nonce, book.bytes("token").subarray(17), head);
  book.equal("opened token", toHex(opened), toHex(content));
}

const CHECKS = new Map([
  ["frames.json", checkFrames], ["varints.json", checkVarints], ["messages.json", checkMessages], ["records.json", checkRecords],
  ["login.json", checkLogin], ["center.json", checkCenter], ["rekey.json", checkRekey], ["token.json", checkToken],
  ["hpke.json", checkHpke], ["friends.json", checkFriends],
]);

/** Checks every file of `directory`, one printed line each; resolves to whether all agree. A file unknown or missing does not. */
export async function checkVectors(directory, print) {
  const there = fs.readdirSync(directory).filter((name) => name.endsWith(".json"));
  let areAllRight = true;
  for (const file of new Set([...CHECKS.keys(), ...there.sort()])) {
    try {
      if (!CHECKS.has(file)) throw new Mismatch("the page does not name this file");
      const book = Book.open(directory, file);
      await CHECKS.get(file)(book);
      book.end();
      print(`ok        ${file}`);
    } catch (error) {
      areAllRight = false;
      print(`MISMATCH  ${file}: ${error.message}`);
    }
  }
  return areAllRight;
}
