// The worked examples of login, center and rekey: the terminal's own code runs against the recorded server, and the server's side is
// computed again from its private keys.
import { ascii, join, toHex, u16, u32, u8 } from "./bytes.mjs";
import { KINDS as CENTER_KINDS, connectCenter, traceTraffic } from "./center.mjs";
import { CODES } from "./errors.mjs";
import { Fields, grantOf, serverList } from "./fields.mjs";
import { encodeFlight, encodeFrame, throwIfErrorFlight } from "./frames.mjs";
import { ed25519Sign, exchange, x25519KeyPair } from "./hkdf.mjs";
import { hpkeOpen, hpkeSeal, pad, unpad } from "./hpke.mjs";
import * as schedule from "./key_schedule.mjs";
import { KINDS, Login, SUITE, signedCertificate, signedHello } from "./login.mjs";
import { PING_ASKS, decodeRecord, encodeMessage } from "./messages.mjs";
import * as msgpack from "./msgpack.mjs";
import { Direction } from "./records.mjs";
import { Mismatch, ScriptedLink } from "./worked_examples.mjs";

const directionOf = (book, name) => new Direction({ key: book.bytes(`${name}_key`), iv: book.bytes(`${name}_iv`) });
const content = (book, name) => book.bytes(name).subarray(4);

async function loginTerminal(book) {
  const fingerprint = book.bytes("fingerprint");
  const keyPair = await schedule.terminalKeyPair(fingerprint, book.bytes("terminal_secret"));
  book.same("terminal_private", keyPair.private);
  book.same("terminal_public", keyPair.public);
  return { fingerprint, keyPair };
}

function loginOf(book, terminal, received, sent = ["frame1", "frame3", "frame5"], options = {}) {
  const chance = {
    nonce: () => book.bytes("client_nonce"),
    ephemeral: () => x25519KeyPair(book.bytes("client_ephemeral_private")),
    hpkeEphemeral: () => x25519KeyPair(book.bytes("credentials_hpke_ephemeral_private")),
  };
  const link = new ScriptedLink(book, sent, received);
  return new Login(link, { terminal, pin: book.bytes("identity"), chance, trace: book.trace, ...options });
}

export async function checkLogin(book) {
  const terminal = await loginTerminal(book);
  const credentials = msgpack.decode(book.bytes("credentials"));
  await loginOf(book, terminal, ["frame2", "frame4", "frame6"]).run(credentials);
  const refused = loginOf(book, terminal, ["frame2", "frame4", "refusal_frame"]);
  await book.refused("the refused login", CODES.LOGIN_FAILED, () => refused.run(credentials));
  const broken = loginOf(book, terminal, ["error_frame"]);
  await book.refused("the login answered by an error flight", CODES.BAD_HANDSHAKE, () => broken.run(credentials));
  const servers = await loginOf(book, terminal, ["frame2", "servers_answer_frame"], ["frame1", "servers_ask_frame"]).askServers();
  if (!servers.length) throw new Mismatch(`${book.where}: no server in the server list`);
  await checkPin(book, terminal, credentials);
  await checkLoginServer(book, terminal);
  checkOtherCredentials(book);
}

/** What changes a password or deletes an account, and the grant that answers the latter. */
function checkOtherCredentials(book) {
  for (const [name, op] of [["password_change", "password"], ["deletion", "delete"]]) {
    const fields = new Fields(msgpack.decode(book.bytes(name)));
    book.equal(`op of ${name}`, fields.text("op"), op);
    const credentials = { op, name: fields.text("name"), password: fields.text("password"), terminal: fields.text("terminal", 64) };
    if (op === "password") credentials.new_password = fields.text("new_password");
    book.same(name, msgpack.encode(credentials));
  }
  const deleted = msgpack.decode(book.bytes("deleted"));
  const grant = new Fields(deleted);
  book.equal("user of deleted", String(grant.u64("user")), "0");
  book.equal("token of deleted", grant.bytes("token").length, 0);
  book.same("deleted", msgpack.encode(deleted));
}

async function checkPin(book, terminal, credentials) {
  const other = loginOf(book, terminal, ["frame2"], ["frame1"], { pin: Buffer.alloc(32, 7) });
  const failure = await other.run(credentials).then(() => null, (error) => error);
  if (failure?.constructor.name !== "PinChanged") throw new Mismatch(`${book.where}: another identity than the pinned one was taken`);
}

/** Flights 2, 4 and 6 as the login center makes them; flights 1, 3 and 5 as it reads them. */
async function checkLoginServer(book, terminal) {
  const ephemeral = await x25519KeyPair(book.bytes("server_ephemeral_private"));
  book.same("server_ephemeral", ephemeral.public);
  book.same("client_ephemeral", (await x25519KeyPair(book.bytes("client_ephemeral_private"))).public);
  book.same("flight1", content(book, "frame1"));
  const identity = book.bytes("identity_private");
  const hello = encodeFlight(KINDS.HELLO_REPLY, u8(SUITE), book.bytes("server_nonce"), ephemeral.public, book.bytes("identity"));
  const room = join(hello, Buffer.alloc(64));
  const flight2 = join(hello, await ed25519Sign(identity, await signedHello(book.bytes("H1"), room)));
  book.same("flight2", flight2);
  book.same("frame2", encodeFrame(flight2));
  book.same("exchange", await exchange(ephemeral, book.bytes("client_ephemeral")));
  book.same("terminal_exchange", await exchange(ephemeral, terminal.keyPair.public));
  book.same("flight3", await directionOf(book, "k1_t2l").open(content(book, "frame3")));
  book.equal("flight 3", toHex(encodeFlight(KINDS.TERMINAL, terminal.fingerprint, terminal.keyPair.public, book.bytes("proof"))), book.raw("flight3"));
  await checkServersAnswer(book);
  await checkSealedAnswers(book, terminal, identity);
}

async function checkServersAnswer(book) {
  const ask = directionOf(book, "k1_t2l");
  book.same("servers_ask_frame", encodeFrame(await ask.seal(encodeFlight(KINDS.SERVERS_ASK))));
  const flight = await directionOf(book, "k1_l2t").open(content(book, "servers_answer_frame"));
  const map = msgpack.decode(flight.subarray(2));
  serverList(new Fields(map));
  const again = encodeFlight(KINDS.SERVERS_ANSWER, msgpack.encode(map));
  book.same("servers_answer_frame", encodeFrame(await directionOf(book, "k1_l2t").seal(again)));
}

async function checkSealedAnswers(book, terminal, identity) {
  const server = await schedule.serverKeyPair(terminal.fingerprint, book.bytes("master_secret"), terminal.keyPair.public);
  book.same("server_private", server.private);
  book.same("server_public", server.public);
  const fields = join(u8(1), u8(1), terminal.keyPair.public, server.public, book.bytes("H3"));
  const certificate = encodeFlight(KINDS.CERTIFICATE, fields, await ed25519Sign(identity, signedCertificate(fields)));
  book.same("flight4", certificate);
  const [back, refusing, out] = [directionOf(book, "k2_l2t"), directionOf(book, "k2_l2t"), directionOf(book, "k2_t2l")];
  book.same("frame4", encodeFrame(await back.seal(certificate)));
  const flight5 = await out.open(content(book, "frame5"));
  book.same("flight5", flight5);
  const credentials = unpad(await hpkeOpen(server, join(ascii("MyIM 1 credentials"), book.bytes("H4")), flight5.subarray(2)));
  book.same("credentials", credentials);
  const grant = book.bytes("grant");
  grantOf(new Fields(msgpack.decode(grant)));
  book.same("grant", msgpack.encode(msgpack.decode(grant)));
  const ephemeral = () => x25519KeyPair(book.bytes("grant_hpke_ephemeral_private"));
  const info = join(ascii("MyIM 1 grant"), book.bytes("H5"));
  const flight6 = encodeFlight(KINDS.GRANT, await hpkeSeal(terminal.keyPair.public, info, pad(grant), ephemeral));
  book.same("flight6", flight6);
  book.same("frame6", encodeFrame(await back.seal(flight6)));
  await checkRefusals(book, refusing, certificate);
}

async function checkRefusals(book, direction, certificate) {
  await direction.seal(certificate); // REFUSAL stands in place of GRANT: it is the second flight under this key
  const opened = await Object.assign(directionOf(book, "k2_l2t"), { sequence: 1 }).open(content(book, "refusal_frame"));
  const retryMs = opened.readUInt32BE(4);
  const refusal = encodeFlight(KINDS.REFUSAL, u16(CODES.LOGIN_FAILED), u32(retryMs));
  book.same("refusal_frame", encodeFrame(await direction.seal(refusal)));
  book.same("error_frame", encodeFrame(encodeFlight(0xff, u16(CODES.BAD_HANDSHAKE))));
  await book.refused("the error flight", CODES.BAD_HANDSHAKE, () => throwIfErrorFlight(content(book, "error_frame"), "login"));
}

export async function checkCenter(book) {
  const keyPair = await x25519KeyPair(book.bytes("terminal_private"));
  const pass = {
    token: book.bytes("token"), sessionKey: book.bytes("session_key"), connectionNumber: BigInt(book.raw("connection_number")), keyPair,
  };
  const chance = { nonce: () => book.bytes("client_nonce"), ephemeral: () => x25519KeyPair(book.bytes("client_ephemeral_private")) };
  const link = new ScriptedLink(book, ["frame1"], ["frame2"]);
  const keys = await connectCenter(link, pass, { chance, trace: book.trace });
  book.same("flight1", content(book, "frame1"));
  const ping = encodeMessage(PING_ASKS);
  for (const [name, keysOfWay] of [["first_t2c_frame", keys.t2c], ["first_c2t_frame", keys.c2t]]) {
    book.same(name, encodeFrame(await new Direction(keysOfWay).seal(ping)));
    book.equal(name, decodeRecord(await new Direction(keysOfWay).open(content(book, name)), "center"), [PING_ASKS]);
  }
  await checkCenterServer(book, keyPair);
}

/** Flight 2 as the center makes it. */
async function checkCenterServer(book, terminal) {
  const ephemeral = await x25519KeyPair(book.bytes("center_ephemeral_private"));
  const client = await x25519KeyPair(book.bytes("client_ephemeral_private"));
  const head = encodeFlight(CENTER_KINDS.ACCEPT, u8(SUITE), book.bytes("center_nonce"), ephemeral.public);
  const b = await schedule.extendWithoutTail(book.bytes("G1"), join(head, Buffer.alloc(32)), 32);
  const exchanged = await exchange(ephemeral, client.public);
  const keys = await schedule.centerKeys(b, book.bytes("session_key"), exchanged, await exchange(ephemeral, terminal.public));
  book.same("flight2", join(head, keys.finished));
  book.same("frame2", encodeFrame(join(head, keys.finished)));
}

export async function checkRekey(book) {
  const b = book.bytes("B");
  let exporter = book.bytes("exporter");
  for (const one of book.list("rekeys")) {
    const terminal = await x25519KeyPair(one.bytes("terminal_ephemeral_private"));
    const center = await x25519KeyPair(one.bytes("center_ephemeral_private"));
    one.same("terminal_ephemeral", terminal.public);
    one.same("center_ephemeral", center.public);
    const exchanged = await exchange(terminal, center.public);
    one.equal("exchange of the other side", toHex(await exchange(center, terminal.public)), toHex(exchanged));
    const keys = await schedule.rekeyKeys(b, one.raw("count"), terminal.public, center.public, exporter, exchanged);
    one.same("salt", keys.salt);
    one.same("S", keys.secret);
    traceTraffic(one.trace, keys);
    one.same("first_c2t_frame", encodeFrame(await new Direction(keys.c2t).seal(encodeMessage(PING_ASKS))));
    one.equal("first record", decodeRecord(await new Direction(keys.c2t).open(content(one, "first_c2t_frame")), "center"), [PING_ASKS]);
    exporter = keys.exporter;
    one.end();
  }
}
