// Typed fields of decoded maps, and the structures the protocol shares between login and center. A wrong field names its path [P-3.9].
import { CODES, ProtocolError } from "./errors.mjs";

export class Fields {
  /** `code`: BAD_COMMAND, or BAD_HANDSHAKE inside a flight of the login; `path`: what stands before the names of the fields. */
  constructor(map, code = CODES.BAD_COMMAND, path = "") {
    this.code = code;
    this.path = path;
    if (!(map instanceof Map)) throw this.wrong("content");
    this.map = map;
  }

  wrong(name) { return new ProtocolError(this.code, `field ${this.path}${name}`); }

  #number(name, end) {
    const value = this.map.get(name);
    if ((typeof value !== "number" && typeof value !== "bigint") || value < 0 || value >= end) throw this.wrong(name);
    return value;
  }

  u8(name) { return Number(this.#number(name, 0x100)); }
  u16(name) { return Number(this.#number(name, 0x10000)); }
  u32(name) { return Number(this.#number(name, 0x100000000)); }
  u64(name) { return BigInt(this.#number(name, 1n << 64n)); }

  text(name, maxCharacters = Infinity) {
    const value = this.map.get(name);
    if (typeof value !== "string" || [...value].length > maxCharacters) throw this.wrong(name);
    return value;
  }

  bytes(name, length = null) {
    const value = this.map.get(name);
    if (!(value instanceof Uint8Array) || (length !== null && value.length !== length)) throw this.wrong(name);
    return value;
  }

  truth(name) {
    const value = this.map.get(name);
    if (typeof value !== "boolean") throw this.wrong(name);
    return value;
  }

  /** The maps of a list, each as Fields with its path. */
  list(name, maxItems) {
    const value = this.map.get(name);
    if (!Array.isArray(value) || value.length > maxItems) throw this.wrong(name);
    return value.map((item, i) => {
      if (!(item instanceof Map)) throw this.wrong(`${name}.${i}`);
      return new Fields(item, this.code, `${this.path}${name}.${i}.`);
    });
  }

  has(name) { return this.map.has(name); }
}

/** A text that is one of `choices`. */
export function choice(fields, name, choices) {
  const value = fields.text(name);
  if (!choices.includes(value)) throw fields.wrong(name);
  return value;
}

/** A list of `least` to `most` u64. */
export function ids(fields, name, least, most) {
  const values = fields.map.get(name);
  if (!Array.isArray(values) || values.length < least || values.length > most) throw fields.wrong(name);
  return values.map((value, i) => idOf(fields, `${name}.${i}`, value));
}

/** The u64 `value`, which stands at `name`. */
export const idOf = (fields, name, value) => new Fields(new Map([[name, value]]), fields.code, fields.path).u64(name);

/** What `read` reads if there is such a field, else null. */
export const maybe = (fields, name, read) => (fields.has(name) ? read(fields) : null);

/** The server list [P-7.11], in the order in which a terminal tries it. */
export function serverList(fields) {
  const servers = fields.list("servers", 16).map((one) => {
    const role = one.text("role");
    if (role !== "center" && role !== "endpoint") throw one.wrong("role");
    return {
      node: one.u64("node"), role, host: one.text("host", 255), port: one.u16("port"),
      priority: one.u16("priority"), load: one.u8("load"), draining: one.truth("draining"),
    };
  });
  return servers;
}

/** What a refusal or GOODBYE says [P-3.8]: `{code, text, retryMs, field}`; an absent optional field is null. */
export function errorMap(fields) {
  return {
    code: fields.u16("code"), text: fields.text("text"),
    retryMs: fields.has("retry_ms") ? fields.u32("retry_ms") : null,
    field: fields.has("field") ? fields.text("field") : null,
  };
}

/** The content of GRANT [P-4.8]. */
export function grantOf(fields) {
  const last = fields.map.get("last_login");
  if (last === undefined) throw fields.wrong("last_login");
  return {
    user: fields.u64("user"), name: fields.text("name"), slot: slotOf(fields), terminalGeneration: fields.u32("terminal_generation"),
    sessionKey: fields.bytes("session_key", 32), token: tokenOf(fields), issued: fields.u64("issued"), expires: fields.u64("expires"),
    servers: serverList(fields), lastLogin: last === null ? null : lastLoginOf(fields, last),
    newTerminal: fields.truth("new_terminal"), newNetwork: fields.truth("new_network"),
    friendsVersion: fields.u64("friends_version"), friendsHash: fields.bytes("friends_hash", 32),
  };
}

function lastLoginOf(fields, map) {
  if (!(map instanceof Map)) throw fields.wrong("last_login");
  const last = new Fields(map, fields.code, `${fields.path}last_login.`);
  return { time: last.u64("time"), address: last.text("address"), terminal: last.text("terminal") };
}

function slotOf(fields) {
  const slot = fields.u8("slot");
  if (slot > 63) throw fields.wrong("slot");
  return slot;
}

function tokenOf(fields) {
  const token = fields.bytes("token");
  if (token.length < 1 || token.length > 1024) throw fields.wrong("token");
  return token;
}

/** The content of a TOKEN reply [P-7.12]. */
export function renewalOf(fields) {
  return {
    token: tokenOf(fields), sessionKey: fields.bytes("session_key", 32), issued: fields.u64("issued"), expires: fields.u64("expires"),
  };
}

/** The content of a LOOKUP reply [P-7.13]. */
export const userOf = (fields) => ({ user: fields.u64("user"), name: fields.text("name") });
