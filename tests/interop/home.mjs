// What a terminal keeps on disk (0600, whole or not at all): its secret and pin, its session, its unsettled messages, what it has shown.
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { ascii, fromHex, join, toHex } from "./bytes.mjs";
import { randomBytes } from "./hkdf.mjs";
import { terminalKeyPair } from "./key_schedule.mjs";

const DAY_US = 24n * 3600n * 1000000n;
const SHOWN_KEPT_US = 40n * DAY_US; // [P-8.3]
const EMPTY_SESSION = {
  user: null, name: null, slot: 0, token: null, sessionKey: null, issued: null, expires: null, connectionNumber: "0", servers: [],
  lastTime: "0", contacts: [], unsettled: [], stored: [], receiptsAhead: [],
};

export const nowUs = () => BigInt(Date.now()) * 1000n;

/** A home that another process uses: two would take the same names and connection numbers. */
export class HomeInUse extends Error {}

export class Home {
  constructor(directory) {
    this.directory = directory;
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#lock();
    this.terminal = this.#read("terminal.json") ?? this.#newTerminal();
    this.session = this.#read("session.json") ?? structuredClone(EMPTY_SESSION);
    this.shown = this.#readShown();
  }

  /** `{fingerprint, keyPair}` [P-4.1]. */
  async loginTerminal() {
    const fingerprint = fromHex(this.terminal.fingerprint);
    return { fingerprint, keyPair: await terminalKeyPair(fingerprint, fromHex(this.terminal.secret)) };
  }

  get pin() { return this.terminal.pin ? fromHex(this.terminal.pin) : null; }

  keepPin(identity) {
    this.terminal.pin = toHex(identity);
    this.#write("terminal.json", this.terminal);
  }

  get user() { return BigInt(this.session.user); }

  /** Keeps what a login gave; the connection number starts anew [P-5.4]. */
  keepGrant(grant) {
    const { session } = this;
    if (session.user !== null && BigInt(session.user) !== grant.user) throw new Error(`this home belongs to ${session.name}`);
    Object.assign(session, { user: String(grant.user), name: grant.name, slot: grant.slot, connectionNumber: "0" });
    this.keepServers(grant.servers);
    this.keepRenewal(grant);
  }

  keepRenewal({ token, sessionKey, issued, expires }) {
    Object.assign(this.session, { token: toHex(token), sessionKey: toHex(sessionKey), issued: String(issued), expires: String(expires) });
    this.save();
  }

  keepServers(servers) {
    this.session.servers = servers.map((server) => ({ ...server, node: String(server.node) }));
    this.save();
  }

  /** A connection number never used before, kept before it is used. */
  takeConnectionNumber() {
    this.session.connectionNumber = String(BigInt(this.session.connectionNumber) + 1n);
    this.save();
    return BigInt(this.session.connectionNumber);
  }

  /** The next name [P-3.6]; saved by the caller in the same step as what it names, before it is sent. */
  takeTime() {
    const least = BigInt(this.session.lastTime) + 64n;
    const now = nowUs();
    const time = ((now > least ? now : least) & ~63n) | BigInt(this.session.slot);
    this.session.lastTime = String(time);
    return time;
  }

  save() { this.#write("session.json", this.session); }

  /** Appends what is shown, in one durable step, and remembers its names; `entries`: objects with a `key`. */
  show(entries) {
    const now = String(nowUs());
    const lines = entries.map((entry) => JSON.stringify({ shownAt: now, ...entry }) + "\n").join("");
    const file = fs.openSync(this.#path("shown.jsonl"), "a", 0o600);
    try {
      fs.writeSync(file, lines);
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    for (const { key } of entries) this.shown.add(key);
  }

  close() { fs.rmSync(this.#path("lock"), { force: true }); }

  #newTerminal() {
    const terminal = { secret: toHex(randomBytes(32)), fingerprint: toHex(machineFingerprint()), pin: null };
    this.#write("terminal.json", terminal);
    return terminal;
  }

  /** The keys of what was shown within 40 days; what is older, or half written, leaves the file. */
  #readShown() {
    const file = this.#path("shown.jsonl");
    if (!fs.existsSync(file)) return new Set();
    const lines = fs.readFileSync(file, "utf-8").split("\n");
    const oldest = nowUs() - SHOWN_KEPT_US;
    const kept = lines.slice(0, -1).filter((line) => BigInt(JSON.parse(line).shownAt) >= oldest);
    if (kept.length !== lines.length - 1 || lines.at(-1) !== "") this.#replace("shown.jsonl", kept.map((line) => line + "\n").join(""));
    return new Set(kept.map((line) => JSON.parse(line).key));
  }

  #path(name) { return path.join(this.directory, name); }

  #read(name) {
    return fs.existsSync(this.#path(name)) ? JSON.parse(fs.readFileSync(this.#path(name), "utf-8")) : null;
  }

  #write(name, value) { this.#replace(name, JSON.stringify(value, null, 1) + "\n"); }

  #replace(name, text) {
    const file = this.#path(`${name}.new`);
    fs.writeFileSync(file, text, { mode: 0o600, flush: true });
    fs.renameSync(file, this.#path(name));
    const directory = fs.openSync(this.directory, "r");
    fs.fsyncSync(directory);
    fs.closeSync(directory);
  }

  #lock() {
    const file = this.#path("lock");
    if (fs.existsSync(file) && isAlive(Number(fs.readFileSync(file, "utf-8")))) throw new HomeInUse(`${this.directory} is in use`);
    fs.rmSync(file, { force: true });
    fs.writeFileSync(file, String(process.pid), { mode: 0o600, flag: "wx" });
  }
}

function isAlive(pid) {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** SHA-256 over the machine's id, or over the addresses of its network cards where it has none. */
function machineFingerprint() {
  const ids = ["/etc/machine-id", "/sys/class/dmi/id/product_uuid"].flatMap((file) => {
    try {
      return [fs.readFileSync(file)];
    } catch {
      return [];
    }
  });
  const cards = Object.values(os.networkInterfaces()).flat().map(({ mac }) => mac).sort();
  return createHash("sha256").update(join(ascii("MyIM interop client"), ...(ids.length ? ids : cards.map(ascii)))).digest();
}
