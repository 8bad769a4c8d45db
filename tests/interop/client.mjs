// A terminal's user, from the home on disk to a session that is kept up: delivery both ways (§7.2–7.5, §8), reconnecting, renewing.
// What a command of the program wants of a session is its job, in jobs.mjs.
import { EMPTY, fromHex, toHex } from "./bytes.mjs";
import { connectCenter } from "./center.mjs";
import { CODES, ConnectionLost, ProtocolError, Refused, codeName } from "./errors.mjs";
import { CenterConnection, refusalIn } from "./connection.mjs";
import { Fields, renewalOf, serverList, userOf } from "./fields.mjs";
import { nowUs } from "./home.mjs";
import { Link } from "./link.mjs";
import { Login } from "./login.mjs";
import {
  COMMANDS, MAX_BODY_BYTES, QOS_1, REPLY, decodeReceipt, encodeReceipt, isError, qosOf, splitDelivered,
} from "./messages.mjs";
import * as msgpack from "./msgpack.mjs";
import { Outbox } from "./outbox.mjs";

const STORED_KEPT_US = 40n * 24n * 3600n * 1000000n;
const LOOK_MS = 50; // how often retries and late answers are looked at
const SETTLINGS = [null, "received", "stored"];
const RECONNECTS = new Set([
  CODES.REKEY_REQUIRED, CODES.TOO_SLOW, CODES.IDLE, CODES.DRAINING, CODES.INTERNAL, CODES.STALE_CONNECTION, CODES.BUSY, CODES.ISOLATED,
  CODES.TIMEOUT, CODES.SHUTDOWN, CODES.SLOW_DOWN,
]);

/** Body bytes as a person reads them: `{text}`, or `{hex}` where they are no UTF-8. */
function readable(body) {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body) };
  } catch {
    return { text: null, hex: toHex(body) };
  }
}

export class Client {
  /** `print`: gets one object per line of output. */
  constructor(home, print) {
    this.home = home;
    this.print = print;
    this.isListening = false;
    this.shownCount = 0;
    this.receiptCount = 0;
    this.repeatCount = 0; // messages and receipts that came again though they were shown
    this.learning = new Set(); // ids whose names are being asked for
    if (home.session.user !== null) this.outbox = new Outbox(home.session.unsettled, home.user);
  }

  /** Logs in or registers at `host:port` and keeps what it gave; throws Refused or PinChanged. */
  async login(host, port, credentials) {
    const { login, link } = await this.#dialLogin(host, port);
    try {
      const grant = await login.run(credentials);
      if (!this.home.pin) this.home.keepPin(login.identity);
      this.home.keepGrant(grant);
      return grant;
    } finally {
      link.close();
    }
  }

  /** The server list, asked for without logging in. */
  async servers(host, port) {
    const { login, link } = await this.#dialLogin(host, port);
    try {
      return await login.askServers();
    } finally {
      link.close();
    }
  }

  async #dialLogin(host, port) {
    const link = await Link.dial(host, port);
    return { link, login: new Login(link, { terminal: await this.home.loginTerminal(), pin: this.home.pin }) };
  }

  /** Keeps a session up until the job is done or `deadline` (performance.now) is over; resolves to whether it was done. */
  async stay(job, deadline) {
    if (!this.outbox) throw new Error("this home has no user; register or log in first");
    job.prepare?.(this);
    for (let failures = 0; performance.now() < deadline; failures++) {
      const error = await this.#oneSession(job, deadline, failures);
      if (job.isDone(this)) return true;
      if (error && !isWorthAnother(error)) throw error;
      if (error) this.print({ reconnecting: error.message });
      await new Promise((resolve) => setTimeout(resolve, Math.min(100 * 2 ** failures, 5000, Math.max(0, deadline - performance.now()))));
    }
    return false;
  }

  /** Resolves to what ended the session too early, or null. */
  async #oneSession(job, deadline, attempt) {
    try {
      await this.#connect(attempt);
      job.begin(this).catch((error) => this.connection.fail(error));
      this.#renewIfDue();
      this.#dropTheOld();
      return await this.#drive(job, deadline);
    } catch (error) {
      return error;
    }
  }

  async #connect(attempt) {
    const { home } = this;
    const server = this.#server(attempt);
    const link = await Link.dial(server.host, server.port);
    try {
      const { keyPair } = await home.loginTerminal();
      const pass = {
        token: fromHex(home.session.token), sessionKey: fromHex(home.session.sessionKey), connectionNumber: home.takeConnectionNumber(), keyPair,
      };
      this.connection = new CenterConnection(link, await connectCenter(link, pass), home.user, {
        onMessages: (messages) => this.#take(messages),
        onReply: (message) => this.#settled(message),
        onRekeyed: (count) => this.print({ rekeyed: count }),
      });
    } catch (error) {
      link.close();
      throw error;
    }
    this.connection.start();
  }

  /** The best server first, then the others in turn [P-7.11]. */
  #server(attempt) {
    const { servers } = this.home.session;
    if (!servers.length) throw new Error("no server known; log in again");
    const order = servers.toSorted((a, b) => a.draining - b.draining || a.priority - b.priority);
    return order[attempt % order.length];
  }

  async #drive(job, deadline) {
    const { connection } = this;
    let ended;
    connection.ended.then((error) => { ended = error ?? new ConnectionLost("the center ended the session"); });
    while (ended === undefined && !job.isDone(this) && performance.now() < deadline) {
      job.feed?.(this);
      if (this.outbox.isLate(performance.now())) connection.fail(new ConnectionLost("a message had no answer for 15 s"));
      const due = this.outbox.due(performance.now());
      if (due.length) await connection.send(...due);
      await Promise.race([connection.ended, new Promise((resolve) => { this.poke = resolve; setTimeout(resolve, LOOK_MS); })]);
    }
    if (ended !== undefined) return ended;
    await connection.goodbye();
    return null;
  }

  /** Asks the center with a name of its own; resolves to the reply. */
  request(command, content = EMPTY) {
    const time = this.home.takeTime();
    this.home.save();
    return this.connection.request({ command, time, content });
  }

  /** `{user, name}` by `{name}` or `{user}` [P-7.13]; kept as a contact. Throws Refused NOT_ALLOWED. */
  async lookUp(question) {
    const reply = await this.request(COMMANDS.LOOKUP, msgpack.encode(question));
    const found = userOf(new Fields(msgpack.decode(reply.content)));
    const contacts = new Map(this.home.session.contacts).set(question.name ?? found.name, String(found.user));
    this.home.session.contacts = [...contacts];
    this.home.save();
    return found;
  }

  /** The id of a name that was looked up before, or null. */
  contact(name) {
    const id = new Map(this.home.session.contacts).get(name);
    return id === undefined ? null : BigInt(id);
  }

  /** A new token in place of the one there is [P-7.12]. */
  async renew() {
    const reply = await this.request(COMMANDS.TOKEN);
    this.home.keepRenewal(renewalOf(new Fields(msgpack.decode(reply.content))));
  }

  /** Keeps a message to be sent; it survives this process. */
  post(target, to, text) {
    const body = Buffer.from(text, "utf-8");
    if (body.length > MAX_BODY_BYTES) throw new Error("the message is too long");
    const time = this.home.takeTime();
    this.outbox.add({ target: String(target), to, time: String(time), body: toHex(body), keptAt: Date.now() });
    this.home.save();
  }

  #renewIfDue() {
    const [issued, expires] = [BigInt(this.home.session.issued), BigInt(this.home.session.expires)];
    if (nowUs() < (issued + expires) / 2n) return;
    this.renew().catch((error) => { if (!(error instanceof Refused)) this.connection.fail(error); });
  }

  #dropTheOld() {
    const { session } = this.home;
    const oldest = nowUs() - STORED_KEPT_US;
    session.stored = session.stored.filter(({ time }) => BigInt(time) >= oldest);
    const unknown = this.outbox.startSession(Date.now());
    if (unknown.length) this.home.save();
    for (const entry of unknown) this.#printSettled(entry, { settled: "unknown" });
  }

  #printSettled({ to, target, time, body }, what) {
    this.print({ ...what, to, target, time, ...readable(fromHex(body)) });
  }

  /** The reply to a message of ours [P-8.1]. */
  #settled(message) {
    if (message.command !== COMMANDS.USER_MESSAGE) return;
    this.poke?.();
    if (isError(message)) return this.#refused(message);
    const settling = message.content.length === 1 ? SETTLINGS[message.content[0]] : null;
    if (!settling) throw new ProtocolError(CODES.BAD_COMMAND, "settling of another form");
    const entry = this.outbox.settle(message.target, message.time);
    if (!entry) return;
    const { session } = this.home;
    if (settling === "stored") session.stored.push({ target: entry.target, to: entry.to, time: entry.time });
    const isAhead = session.receiptsAhead.includes(receiptKey(entry.target, entry.time));
    session.receiptsAhead = session.receiptsAhead.filter((key) => key !== receiptKey(entry.target, entry.time));
    if (!isAhead) this.home.save();
    this.#printSettled(entry, { settled: settling });
    if (isAhead) this.#keepReceipts([[BigInt(entry.target), BigInt(entry.time)]]);
  }

  #refused(message) {
    const refusal = refusalIn(message, "message");
    const refused = this.outbox.refuse(message.target, message.time, refusal, performance.now());
    if (!refused) return;
    const { entry, isFinal } = refused;
    if (!isFinal) return this.print({ retrying: codeName(refusal.code), time: entry.time });
    this.home.save();
    this.#printSettled(entry, { settled: "refused", code: codeName(refusal.code) });
  }

  /** What the center says of itself or of others. */
  async #take(messages) {
    const delivered = messages.filter(({ command }) => command === COMMANDS.USER_MESSAGE);
    if (delivered.length && this.isListening) await this.#show(delivered);
    for (const message of messages) {
      if (message.command === COMMANDS.RECEIPT) await this.#takeReceipt(message);
      if (message.command === COMMANDS.SERVERS) this.home.keepServers(serverList(new Fields(msgpack.decode(message.content))));
    }
    this.poke?.();
  }

  /** Shows what was not shown before, in one durable step, and confirms all that asks for it [P-8.3]. */
  async #show(messages) {
    const entries = new Map();
    const confirmed = [];
    for (const message of messages) {
      const { user, target, time } = message;
      const { body, ...origin } = splitDelivered(message.content);
      if (user !== this.home.user && target !== this.home.user) throw new ProtocolError(CODES.BAD_COMMAND, "message for somebody else");
      if (qosOf(message) === QOS_1) confirmed.push([user, time]);
      const key = `message ${user} ${time}`;
      if (this.home.shown.has(key) || entries.has(key)) {
        this.repeatCount++;
        continue;
      }
      entries.set(key, {
        key, from: String(user), to: String(target), time: String(time), qos: qosOf(message), ...readable(body),
        entered: String(origin.entered), id: String(origin.id), left: String(origin.left),
      });
    }
    if (entries.size) this.home.show([...entries.values()]);
    for (const { key, ...entry } of entries.values()) this.print({ message: entry.text ?? entry.hex, ...entry });
    for (const from of new Set([...entries.values()].map((entry) => entry.from))) this.#learnName(from);
    this.shownCount += entries.size;
    if (confirmed.length) await this.#say(COMMANDS.RECEIPT, { user: this.home.user, content: encodeReceipt(1, confirmed) });
  }

  /** Asks who wrote, where that is not known yet; runs beside the reading of records, which has to bring the answer. */
  #learnName(from) {
    if (this.learning.has(from) || this.home.session.contacts.some(([, id]) => id === from)) return;
    this.learning.add(from);
    this.lookUp({ user: BigInt(from) })
      .then(({ user, name }) => this.print({ named: name, user: String(user) }))
      .catch((error) => { if (!(error instanceof Refused)) this.connection.fail(error); })
      .finally(() => { this.learning.delete(from); this.poke?.(); });
  }

  /** Receipts of ours [P-7.3]: kept, then confirmed. */
  async #takeReceipt(message) {
    const { target, time, user } = message;
    if (user !== 0n || target !== this.home.user) throw new ProtocolError(CODES.BAD_COMMAND, "RECEIPT for somebody else");
    const { kind, pairs } = decodeReceipt(message.content, [3, 4]);
    if (kind === 4) return pairs.forEach(([to, named]) => this.print({ expired: String(named), to: String(to) }));
    this.#keepReceipts(pairs);
    await this.#say(COMMANDS.RECEIPT, { flags: REPLY, user, target, time });
  }

  #keepReceipts(pairs) {
    const { session, shown } = this.home;
    const entries = new Map();
    for (const [target, time] of pairs) {
      const key = receiptKey(target, time);
      const isNamed = (one) => one.target === String(target) && one.time === String(time);
      const stored = session.stored.find(isNamed);
      if (shown.has(key)) this.repeatCount++;
      if (stored && !shown.has(key)) entries.set(key, { key, ...stored });
      // The receipt may overtake the settling at a new session; it is shown once the message is known to be stored [P-8.7].
      if (!stored && session.unsettled.some(isNamed) && !session.receiptsAhead.includes(key)) session.receiptsAhead.push(key);
    }
    if (entries.size) this.home.show([...entries.values()]);
    session.stored = session.stored.filter(({ target, time }) => !entries.has(receiptKey(target, time)));
    this.home.save();
    for (const { key, ...entry } of entries.values()) this.print({ receipt: "received", ...entry });
    this.receiptCount += entries.size;
  }

  #say(command, { flags = 0, user, target = 0n, time = 0n, content = EMPTY }) {
    return this.connection.send({ command, flags, user, target, time, content });
  }
}

const receiptKey = (target, time) => `receipt ${target} ${time}`;

function isWorthAnother(error) {
  if (error instanceof Refused || error instanceof ProtocolError) return RECONNECTS.has(error.code);
  return error instanceof ConnectionLost;
}
