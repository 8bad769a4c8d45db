// The error codes of the protocol (§9) and the two ways things go wrong: the other side broke the protocol, or it refused.

export const CODES = Object.freeze({
  BAD_FRAME: 1, UNSUPPORTED_VERSION: 2, BAD_HANDSHAKE: 3, BAD_RECORD: 4, REKEY_REQUIRED: 5, TOO_SLOW: 6, IDLE: 7, REPLACED: 8,
  DRAINING: 9, INTERNAL: 10, TOKEN_INVALID: 11, TOKEN_EXPIRED: 12, TOKEN_REVOKED: 13, STALE_CONNECTION: 14, BUSY: 15, ISOLATED: 16,
  TIMEOUT: 17, SHUTDOWN: 18, LOGIN_FAILED: 32, THROTTLED: 33, REGISTRATION_CLOSED: 35, NAME_INVALID: 36, NAME_TAKEN: 37,
  PASSWORD_REFUSED: 38, NO_FREE_SLOT: 39, BAD_COMMAND: 64, UNKNOWN_COMMAND: 65, TOO_LARGE: 66, NOT_ALLOWED: 67, ID_CONFLICT: 68,
  BAD_TIME: 69, OUT_OF_ORDER: 70, SLOW_DOWN: 71, STORE_UNAVAILABLE: 72, RECIPIENT_FULL: 73, NOT_MEMBER: 74, MUTED: 75,
  RENEWAL_REFUSED: 76, LIMIT_REACHED: 77,
});

const NAMES = new Map(Object.entries(CODES).map(([name, code]) => [code, name]));

export const codeName = (code) => NAMES.get(code) ?? `code ${code}`;

/** They were wrong: what came is not the protocol. The connection ends. */
export class ProtocolError extends Error {
  constructor(code, text) {
    super(`${codeName(code)}: ${text}`);
    this.code = code;
  }
}

/** They said no: an error flight, a refusal or a GOODBYE. */
export class Refused extends Error {
  constructor(code, where, { text = "", retryMs = null, field = null } = {}) {
    super(`${where}: ${codeName(code)}${field ? ` (${field})` : ""}${text ? `: ${text}` : ""}`);
    this.code = code;
    this.retryMs = retryMs;
    this.field = field;
  }
}

/** The connection is gone and nobody said why. */
export class ConnectionLost extends Error {}
