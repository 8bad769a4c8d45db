// Transcripts and every key derived from them (§4.4, §5.3, §6.2). Pure: bytes in, bytes out.
import { ascii, join, u32 } from "./bytes.mjs";
import { expand, extract, hmac, sha256, x25519KeyPair } from "./hkdf.mjs";

/** H0 or G0. */
export const startTranscript = (label) => sha256(ascii(label));

/** Hn of Hn-1 and flight n [P-4.2]. */
export const extendTranscript = (hash, flight) => sha256(join(hash, u32(flight.length), flight));

/** The same over a flight whose last `tailBytes` (signature, binder, finished) are not there yet or are left out. */
export const extendWithoutTail = (hash, flight, tailBytes) => extendTranscript(hash, flight.subarray(0, flight.length - tailBytes));

async function directionKeys(secret, prefix, direction) {
  return { key: await expand(secret, `${prefix} ${direction} key`, 32), iv: await expand(secret, `${prefix} ${direction} iv`, 12) };
}

/** The terminal key pair [P-4.1]. */
export async function terminalKeyPair(fingerprint, terminalSecret) {
  return x25519KeyPair(await expand(await extract(fingerprint, terminalSecret), "MyIM 1 terminal key", 32));
}

/** The server key pair that a login center makes for a terminal [P-4.5]; the worked examples need it. */
export async function serverKeyPair(fingerprint, masterSecret, terminalPublic) {
  return x25519KeyPair(await expand(await extract(fingerprint, masterSecret), join(ascii("MyIM 1 server key"), terminalPublic), 32));
}

/** `{secret: S1, t2l, l2t}`; `exchanged`: DH(ephemerals) [P-4.4]. */
export async function firstLoginKeys(h2, exchanged) {
  const secret = await extract(h2, exchanged);
  return { secret, ...(await loginDirections(secret, "MyIM 1 login1")) };
}

/** `{p, proof}`; `terminalExchanged`: DH(terminal key, login ephemeral) [P-4.4]. */
export async function terminalProof(h2, terminalExchanged) {
  const p = await extract(h2, terminalExchanged);
  return { p, proof: await hmac(await expand(p, "MyIM 1 login proof", 32), h2) };
}

/** `{secret: S2, t2l, l2t}` [P-4.4]. */
export async function secondLoginKeys(s1, h3, terminalExchanged) {
  const secret = await extract(h3, join(await expand(s1, "MyIM 1 login chain", 32), terminalExchanged));
  return { secret, ...(await loginDirections(secret, "MyIM 1 login2")) };
}

async function loginDirections(secret, prefix) {
  return { t2l: await directionKeys(secret, prefix, "t2l"), l2t: await directionKeys(secret, prefix, "l2t") };
}

/** `{key, hash, binder}` of a CONNECT whose last 32 bytes are still to come or are the binder's place [P-5.2]. */
export async function binderOf(g0, sessionKey, flight) {
  const key = await expand(sessionKey, "MyIM 1 center binder", 32);
  const hash = await extendWithoutTail(g0, flight, 32);
  return { key, hash, binder: await hmac(key, hash) };
}

/** `{secret: S, finished, t2c, c2t, exporter}` [P-5.3]. */
export async function centerKeys(b, sessionKey, exchanged, terminalExchanged) {
  const secret = await extract(b, join(sessionKey, exchanged, terminalExchanged));
  const finished = await hmac(await expand(secret, "MyIM 1 center finished", 32), b);
  return { secret, finished, ...(await trafficKeys(secret)) };
}

/** `{salt, secret: S', t2c, c2t, exporter}` of rekey number `count` [P-6.2]. */
export async function rekeyKeys(b, count, terminalEphemeral, centerEphemeral, exporter, exchanged) {
  const salt = await sha256(join(ascii("MyIM 1 rekey"), b, u32(count), terminalEphemeral, centerEphemeral));
  const secret = await extract(salt, join(exporter, exchanged));
  return { salt, secret, ...(await trafficKeys(secret)) };
}

async function trafficKeys(secret) {
  return {
    t2c: await directionKeys(secret, "MyIM 1 center", "t2c"), c2t: await directionKeys(secret, "MyIM 1 center", "c2t"),
    exporter: await expand(secret, "MyIM 1 center exporter", 32),
  };
}
