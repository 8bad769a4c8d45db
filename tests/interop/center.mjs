// The handshake with a center (§5) as the terminal lives it. What travels after it is connection.mjs.
import { Cutter, isEqual, join, u16, u64, u8 } from "./bytes.mjs";
import { CODES, ConnectionLost, ProtocolError } from "./errors.mjs";
import { SESSION_CAP, encodeFlight, openFlight, throwIfErrorFlight } from "./frames.mjs";
import { exchange, exchangeEphemerals } from "./hkdf.mjs";
import * as schedule from "./key_schedule.mjs";
import { CHANCE, SUITE } from "./login.mjs";

export const KINDS = Object.freeze({ CONNECT: 0x11, ACCEPT: 0x12 });
const FLIGHT_TIMEOUT_MS = 5000;
const HASH_BYTES = 32;

const bad = (text) => new ProtocolError(CODES.BAD_HANDSHAKE, text);

/** `{flight, g0, key, hash}` of CONNECT, its binder included [P-5.2]. */
export async function connectFlight({ token, nonce, ephemeral, connectionNumber, sessionKey }) {
  const g0 = await schedule.startTranscript("MyIM center 1");
  const head = encodeFlight(
    KINDS.CONNECT, u8(SUITE), u16(token.length), token, nonce, ephemeral, u64(connectionNumber),
  );
  const { key, hash, binder } = await schedule.binderOf(g0, sessionKey, join(head, Buffer.alloc(HASH_BYTES)));
  return { flight: join(head, binder), g0, key, hash };
}

/**
 * Connects; `pass`: `{token, sessionKey, connectionNumber, keyPair}` with a connection number never used before [P-5.4].
 * Resolves to `{b, t2c, c2t, exporter}`; the first record, at most 4,096 bytes, is due at once [P-5.5]. Throws Refused.
 */
export async function connectCenter(link, pass, { chance = CHANCE, trace = () => {} } = {}) {
  const ephemeral = await chance.ephemeral();
  const { flight, g0, key, hash } = await connectFlight({ ...pass, nonce: chance.nonce(), ephemeral: ephemeral.public });
  trace("G0", g0);
  trace("binder_key", key);
  trace("binder_hash", hash);
  link.send(flight);
  const accept = await link.receive(FLIGHT_TIMEOUT_MS);
  if (accept === null) throw new ConnectionLost("the center closed during the handshake");
  throwIfErrorFlight(accept, "center");
  const g1 = await schedule.extendTranscript(g0, flight);
  trace("G1", g1);
  const keys = await readAccept(accept, { g1, ephemeral, pass, trace });
  link.raiseCap(SESSION_CAP);
  return keys;
}

async function readAccept(accept, { g1, ephemeral, pass, trace }) {
  const source = new Cutter(openFlight(accept, KINDS.ACCEPT), () => bad("ACCEPT of another length"));
  if (source.u8() !== SUITE) throw bad("another suite");
  source.take(32); // the center's nonce counts through the transcript alone
  const centerEphemeral = source.take(32);
  const finished = source.take(HASH_BYTES);
  source.end();
  const exchanged = await exchangeEphemerals(ephemeral, centerEphemeral);
  const terminalExchanged = await exchange(pass.keyPair, centerEphemeral);
  const b = await schedule.extendWithoutTail(g1, accept, HASH_BYTES);
  const keys = await schedule.centerKeys(b, pass.sessionKey, exchanged, terminalExchanged);
  trace("B", b);
  trace("exchange", exchanged);
  trace("terminal_exchange", terminalExchanged);
  trace("S", keys.secret);
  trace("finished", keys.finished);
  traceTraffic(trace, keys);
  if (!isEqual(finished, keys.finished)) throw bad("the center did not finish");
  return { b, t2c: keys.t2c, c2t: keys.c2t, exporter: keys.exporter };
}

export function traceTraffic(trace, keys) {
  for (const way of ["t2c", "c2t"]) {
    trace(`${way}_key`, keys[way].key);
    trace(`${way}_iv`, keys[way].iv);
  }
  trace("exporter", keys.exporter);
}
