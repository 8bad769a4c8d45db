// The login (§4) as the terminal lives it: flights out, flights in, every check before the next step. Sockets are in link.mjs.
import { ascii, Cutter, isEqual, join, u8 } from "./bytes.mjs";
import { CODES, ProtocolError, Refused } from "./errors.mjs";
import { Fields, grantOf, serverList } from "./fields.mjs";
import { encodeFlight, openFlight, throwIfErrorFlight } from "./frames.mjs";
import { ed25519Verify, exchange, exchangeEphemerals, freshKeyPair, randomBytes } from "./hkdf.mjs";
import { hpkeOpen, hpkeSeal, pad, unpad } from "./hpke.mjs";
import * as schedule from "./key_schedule.mjs";
import * as msgpack from "./msgpack.mjs";
import { Direction } from "./records.mjs";

export const KINDS = Object.freeze({
  HELLO: 0x01, HELLO_REPLY: 0x02, TERMINAL: 0x03, CERTIFICATE: 0x04, CREDENTIALS: 0x05, GRANT: 0x06, REFUSAL: 0x0f,
  SERVERS_ASK: 0x07, SERVERS_ANSWER: 0x08,
});
export const SUITE = 1;
const FLIGHT_TIMEOUT_MS = 10000; // a login waits for its turn at hashing the password
const SIGNATURE_BYTES = 64;

/** Where a terminal's random bytes come from; the worked examples hand in fixed ones. */
export const CHANCE = Object.freeze({ nonce: () => randomBytes(32), ephemeral: freshKeyPair, hpkeEphemeral: freshKeyPair });

const bad = (text) => new ProtocolError(CODES.BAD_HANDSHAKE, text);

/** The identity is not the pinned one: the login stops loudly [P-4.1]. */
export class PinChanged extends Error {}

/** What the identity signs in flight 2 [P-4.3]; `flight` may have its signature or not yet (`tailBytes` 64 or 0). */
export async function signedHello(h1, flight, tailBytes = SIGNATURE_BYTES) {
  return join(ascii("MyIM 1 login hello"), u8(0), await schedule.extendWithoutTail(h1, flight, tailBytes));
}

/** What the identity signs in a certificate [P-4.5]. */
export const signedCertificate = (fields) => join(ascii("MyIM 1 server key"), u8(0), fields);

export class Login {
  /** `terminal`: `{fingerprint, keyPair}`; `pin`: identity bytes, or null at the first login; `trace`: sees each named secret. */
  constructor(link, { terminal, pin, chance = CHANCE, trace = () => {} }) {
    Object.assign(this, { link, terminal, pin, chance, trace });
  }

  /** Logs in or registers; `credentials`: `{op, name, password, terminal}`. Resolves to the grant; throws Refused. */
  async run(credentials) {
    await this.#hello();
    await this.#showTerminal();
    const serverKey = await this.#readCertificate();
    return this.#exchangeCredentials(serverKey, credentials);
  }

  /** Asks for the server list in place of a login [P-4.10]. */
  async askServers() {
    await this.#hello();
    const { out, back } = this.keys;
    this.link.send(await out.seal(encodeFlight(KINDS.SERVERS_ASK)));
    const answer = openFlight(await back.open(await this.#receive()), KINDS.SERVERS_ANSWER);
    return serverList(new Fields(decodeStructure(answer), CODES.BAD_HANDSHAKE));
  }

  async #receive() {
    const content = await this.link.receive(FLIGHT_TIMEOUT_MS);
    if (content === null) throw bad("the login center closed");
    throwIfErrorFlight(content, "login");
    return content;
  }

  async #extend(flight) {
    this.hash = await schedule.extendTranscript(this.hash, flight);
    this.trace(`H${++this.flights}`, this.hash);
  }

  async #hello() {
    this.hash = await schedule.startTranscript("MyIM login 1");
    this.flights = 0;
    this.trace("H0", this.hash);
    this.ephemeral = await this.chance.ephemeral();
    const hello = encodeFlight(KINDS.HELLO, u8(SUITE), this.chance.nonce(), this.ephemeral.public);
    this.link.send(hello);
    await this.#extend(hello);
    await this.#readHelloReply(await this.#receive());
  }

  async #readHelloReply(flight) {
    const source = new Cutter(openFlight(flight, KINDS.HELLO_REPLY), () => bad("HELLO_REPLY of another length"));
    if (source.u8() !== SUITE) throw bad("another suite");
    source.take(32); // the server's nonce counts through the transcript alone
    this.serverEphemeral = source.take(32);
    this.identity = source.take(32);
    const signature = source.take(SIGNATURE_BYTES);
    source.end();
    if (this.pin && !isEqual(this.pin, this.identity)) throw new PinChanged("the login center has another identity than the pinned one");
    const signed = await signedHello(this.hash, flight);
    this.trace("login_hello_signed", signed);
    if (!(await ed25519Verify(this.identity, signature, signed))) throw bad("the identity did not sign the hello");
    await this.#extend(flight);
    const exchanged = await exchangeEphemerals(this.ephemeral, this.serverEphemeral);
    this.trace("exchange", exchanged);
    this.#useKeys("k1", "S1", await schedule.firstLoginKeys(this.hash, exchanged));
  }

  #useKeys(name, secretName, keys) {
    this.secret = keys.secret;
    this.trace(secretName, keys.secret);
    for (const way of ["t2l", "l2t"]) {
      this.trace(`${name}_${way}_key`, keys[way].key);
      this.trace(`${name}_${way}_iv`, keys[way].iv);
    }
    this.keys = { out: new Direction(keys.t2l, CODES.BAD_HANDSHAKE), back: new Direction(keys.l2t, CODES.BAD_HANDSHAKE) };
  }

  async #showTerminal() {
    const { fingerprint, keyPair } = this.terminal;
    const exchanged = await exchange(keyPair, this.serverEphemeral);
    this.trace("terminal_exchange", exchanged);
    const { p, proof } = await schedule.terminalProof(this.hash, exchanged);
    this.trace("P", p);
    this.trace("proof", proof);
    const flight = encodeFlight(KINDS.TERMINAL, fingerprint, keyPair.public, proof);
    this.link.send(await this.keys.out.seal(flight));
    await this.#extend(flight);
    this.#useKeys("k2", "S2", await schedule.secondLoginKeys(this.secret, this.hash, exchanged));
  }

  /** The server key, once every field and the signature are right [P-4.5]. */
  async #readCertificate() {
    const flight = await this.keys.back.open(await this.#receive());
    const source = new Cutter(openFlight(flight, KINDS.CERTIFICATE), () => bad("certificate of another length"));
    if (source.u8() !== 1 || source.u8() !== 1) throw bad("certificate of another version or purpose");
    if (!isEqual(source.take(32), this.terminal.keyPair.public)) throw bad("certificate for another terminal");
    const serverKey = source.take(32);
    if (!isEqual(source.take(32), this.hash)) throw bad("certificate for another connection");
    const signature = source.take(SIGNATURE_BYTES);
    source.end();
    const fields = flight.subarray(2, flight.length - SIGNATURE_BYTES);
    if (!(await ed25519Verify(this.identity, signature, signedCertificate(fields)))) throw bad("certificate not signed by the identity");
    await this.#extend(flight);
    return serverKey;
  }

  async #exchangeCredentials(serverKey, credentials) {
    const info = join(ascii("MyIM 1 credentials"), this.hash);
    const sealed = await hpkeSeal(serverKey, info, pad(msgpack.encode(credentials)), this.chance.hpkeEphemeral);
    const flight = encodeFlight(KINDS.CREDENTIALS, sealed);
    this.link.send(await this.keys.out.seal(flight));
    await this.#extend(flight);
    const answer = await this.keys.back.open(await this.#receive());
    if (answer[1] === KINDS.REFUSAL) throw refusalOf(openFlight(answer, KINDS.REFUSAL));
    const grant = await hpkeOpen(this.terminal.keyPair, join(ascii("MyIM 1 grant"), this.hash), openFlight(answer, KINDS.GRANT));
    return grantOf(new Fields(decodeStructure(unpad(grant)), CODES.BAD_HANDSHAKE));
  }
}

function decodeStructure(bytes) {
  try {
    return msgpack.decode(bytes);
  } catch (error) {
    throw bad(error.message);
  }
}

function refusalOf(content) {
  const source = new Cutter(content, () => bad("REFUSAL of another length"));
  const [code, retryMs] = [source.u16(), source.u32()];
  source.end();
  return new Refused(code, "login", { retryMs });
}
