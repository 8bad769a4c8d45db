// One session at a center after its handshake: records, rekey (§6), PING, GOODBYE, requests and their replies. What messages mean to a
// user is client.mjs.
import { EMPTY } from "./bytes.mjs";
import { CODES, ConnectionLost, ProtocolError, Refused } from "./errors.mjs";
import { Fields, errorMap } from "./fields.mjs";
import { HANDSHAKE_CAP, SESSION_CAP, throwIfErrorFlight } from "./frames.mjs";
import { exchangeEphemerals, freshKeyPair } from "./hkdf.mjs";
import { rekeyKeys } from "./key_schedule.mjs";
import {
  COMMANDS, PING_ANSWERS, PING_ASKS, QOS_1, checkFromCenter, decodeRecord, encodeMessage, isError, isReply,
} from "./messages.mjs";
import * as msgpack from "./msgpack.mjs";
import { Direction, TAG_BYTES } from "./records.mjs";

const REPLY_TIMEOUT_MS = 15000; // [P-8.6]
const REKEY_AGE_MS = 24 * 3600 * 1000; // [P-2.5]
const QUIET_MS = 20000; // the page names no idle time; a PING this often has to be enough
const GOODBYE_TIMEOUT_MS = 2000;

/** The error a refusing reply or a GOODBYE carries. */
export function refusalIn(message, where) {
  const map = errorMap(new Fields(msgpack.decode(message.content)));
  return new Refused(map.code, where, map);
}

const nameOf = ({ command, target, time }) => `${command}:${target}:${time}`;

export class CenterConnection {
  /**
   * `keys`: of connectCenter; `user`: BigInt. `listener`: `onMessages(list)` for all the center says of itself or of others, in order,
   * `onReply(message)` for replies nobody asked for by `request`, `onRekeyed(count)`.
   */
  constructor(link, keys, user, listener) {
    Object.assign(this, { link, user, listener, b: keys.b, exporter: keys.exporter });
    this.out = new Direction(keys.t2c);
    this.back = new Direction(keys.c2t);
    this.outCap = HANDSHAKE_CAP;
    this.isOpened = false;
    this.isOver = false;
    this.requests = new Map();
    this.sending = Promise.resolve();
    this.rekeying = null;
    this.rekeyCount = 0;
    this.keyedAt = performance.now();
    this.heardAt = performance.now();
    /** Resolves once the session is over, to the error that ended it, or null after a GOODBYE of one's own. */
    this.ended = new Promise((resolve) => { this.resolveEnded = resolve; });
  }

  start() {
    this.watch = setInterval(() => this.#watch(), 1000);
    this.#read().then(() => this.#finish(null), (error) => this.#finish(error));
  }

  /** Sends messages in order, as many to a record as fit; resolves when they are handed to the socket. */
  send(...messages) {
    return this.#queue(async () => {
      let plaintext = [];
      let size = 0;
      for (const bytes of messages.map(encodeMessage)) {
        if (size && size + bytes.length > this.outCap - TAG_BYTES) {
          await this.#seal(Buffer.concat(plaintext));
          [plaintext, size] = [[], 0];
        }
        plaintext.push(bytes);
        size += bytes.length;
      }
      if (size) await this.#seal(Buffer.concat(plaintext));
    });
  }

  /** Sends a QoS 1 request and resolves to its reply; throws Refused, or what ended the session. */
  request({ command, target = 0n, time, content = EMPTY }) {
    const message = { command, flags: QOS_1, user: this.user, target, time, content };
    return new Promise((resolve, reject) => {
      if (this.isOver) return reject(new ConnectionLost("the session is over"));
      this.requests.set(nameOf(message), { resolve, reject, deadline: performance.now() + REPLY_TIMEOUT_MS });
      this.send(message);
    });
  }

  /** Offers a rekey, unless one is on its way; resolves when both directions have their new keys. */
  async rekey() {
    if (!this.rekeying) {
      const rekeying = { ephemeral: await freshKeyPair() };
      rekeying.isDone = new Promise((resolve, reject) => Object.assign(rekeying, { resolve, reject }));
      rekeying.isDone.catch(() => {}); // who started it may not wait
      this.rekeying = rekeying;
      await this.#queue(() => this.#seal(encodeMessage(this.#rekeyMessage(rekeying.ephemeral.public))));
    }
    return this.rekeying.isDone;
  }

  /** Says GOODBYE and waits until the center has answered and closed. */
  async goodbye() {
    await this.send({ command: COMMANDS.GOODBYE, flags: 0, user: this.user, target: 0n, time: 0n, content: EMPTY });
    const timer = setTimeout(() => this.#finish(null), GOODBYE_TIMEOUT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  fail(error) { this.#finish(error); }

  #queue(act) {
    const turn = this.sending.then(() => (this.isOver ? undefined : act()));
    this.sending = turn.catch((error) => this.#finish(error));
    return this.sending;
  }

  async #seal(plaintext) {
    this.link.send(await this.out.seal(plaintext));
    this.outCap = SESSION_CAP; // [P-5.5]: the first valid record lifts it
    if (this.out.isWorn) this.rekey();
  }

  async #read() {
    for (;;) {
      const content = await this.link.receive();
      if (content === null) throw new ConnectionLost("the connection ended without a last record");
      if (!this.isOpened) throwIfErrorFlight(content, "center");
      const plaintext = await this.back.open(content);
      this.isOpened = true;
      this.heardAt = performance.now();
      if (plaintext.length === 0) return;
      await this.#take(decodeRecord(plaintext, "center"));
      if (this.back.isWorn) this.rekey();
    }
  }

  async #take(messages) {
    const rest = [];
    let rekeyReply = null;
    for (const message of messages) {
      checkFromCenter(message);
      if (message.command === COMMANDS.PING) {
        if (message.isAsking) await this.send(PING_ANSWERS);
      } else if (message.command === COMMANDS.REKEY) {
        rekeyReply = this.#checkRekey(message);
      } else if (message.command === COMMANDS.GOODBYE) {
        if (!isReply(message)) throw refusalIn(message, "goodbye");
      } else if (!isReply(message)) {
        rest.push(message);
      } else if (message.user === this.user) {
        this.#answer(message);
      }
    }
    if (rest.length) await this.listener.onMessages(rest);
    if (rekeyReply) await this.#switchKeys(rekeyReply);
  }

  #answer(message) {
    const asked = this.requests.get(nameOf(message));
    if (!asked) return this.listener.onReply(message);
    this.requests.delete(nameOf(message));
    if (isError(message)) asked.reject(refusalIn(message, "request"));
    else asked.resolve(message);
  }

  /** The center's ephemeral, or null if it only asks for a rekey, which is then begun [P-6.3]. */
  #checkRekey(message) {
    const bad = (text) => new ProtocolError(CODES.BAD_COMMAND, `REKEY ${text}`);
    if (message.user || message.target || message.time) throw bad("with a name");
    if (isReply(message)) {
      if (!this.rekeying || message.content.length !== 32) throw bad("answered out of turn");
      return message.content;
    }
    if (message.content.length) throw bad("offered by a center");
    this.rekey();
    return null;
  }

  async #switchKeys(centerEphemeral) {
    const { ephemeral, resolve } = this.rekeying;
    const exchanged = await exchangeEphemerals(ephemeral, centerEphemeral);
    const count = this.rekeyCount + 1;
    const keys = await rekeyKeys(this.b, count, ephemeral.public, centerEphemeral, this.exporter, exchanged);
    this.back = new Direction(keys.c2t);
    await this.#queue(async () => {
      await this.#seal(encodeMessage(this.#rekeyMessage(EMPTY)));
      this.out = new Direction(keys.t2c);
    });
    this.exporter = keys.exporter;
    this.rekeyCount = count;
    this.keyedAt = performance.now();
    this.rekeying = null;
    this.listener.onRekeyed(count);
    resolve(count);
  }

  #rekeyMessage(content) {
    return { command: COMMANDS.REKEY, flags: 0, user: 0n, target: 0n, time: 0n, content };
  }

  #watch() {
    const now = performance.now();
    const isLate = [...this.requests.values()].some(({ deadline }) => deadline <= now);
    if (isLate || now - this.heardAt > QUIET_MS + REPLY_TIMEOUT_MS) return this.#finish(new ConnectionLost("no answer for 15 s"));
    if (now - this.heardAt > QUIET_MS && !this.hasAsked) this.send(PING_ASKS);
    this.hasAsked = now - this.heardAt > QUIET_MS;
    if (now - this.keyedAt > REKEY_AGE_MS) this.rekey();
  }

  #finish(error) {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.watch);
    this.link.close();
    const lost = error ?? new ConnectionLost("the session is over");
    for (const { reject } of this.requests.values()) reject(lost);
    this.rekeying?.reject(lost);
    this.resolveEnded(error);
  }
}
