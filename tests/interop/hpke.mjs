// HPKE base mode, single shot (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; and the padding of what it seals [P-4.6].
import { ascii, EMPTY, fromHex, isZero, join, u16, u8 } from "./bytes.mjs";
import { CODES, ProtocolError } from "./errors.mjs";
import { exchange, expand, extract, freshKeyPair } from "./hkdf.mjs";
import { gcmOpen, gcmSeal } from "./records.mjs";

const KEM_SUITE = join(ascii("KEM"), fromHex("0020"));
const HPKE_SUITE = join(ascii("HPKE"), fromHex("002000010002"));
const VERSION = ascii("HPKE-v1");
export const ENC_BYTES = 32;
const BLOCK_BYTES = 512;

const labeledExtract = (suite, salt, label, ikm) => extract(salt, join(VERSION, suite, ascii(label), ikm));
const labeledExpand = (suite, secret, label, info, length) =>
  expand(secret, join(u16(length), VERSION, suite, ascii(label), info), length);

async function sharedSecretOf(dh, enc, receiverPublic) {
  const secret = await labeledExtract(KEM_SUITE, EMPTY, "eae_prk", dh);
  return labeledExpand(KEM_SUITE, secret, "shared_secret", join(enc, receiverPublic), 32);
}

async function scheduleOf(sharedSecret, info) {
  const pskIdHash = await labeledExtract(HPKE_SUITE, EMPTY, "psk_id_hash", EMPTY);
  const infoHash = await labeledExtract(HPKE_SUITE, EMPTY, "info_hash", info);
  const context = join(u8(0), pskIdHash, infoHash);
  const secret = await labeledExtract(HPKE_SUITE, sharedSecret, "secret", EMPTY);
  return {
    sharedSecret,
    key: await labeledExpand(HPKE_SUITE, secret, "key", context, 32),
    nonce: await labeledExpand(HPKE_SUITE, secret, "base_nonce", context, 12),
  };
}

/** `enc ‖ ciphertext`, with an empty aad. */
export async function hpkeSeal(receiverPublic, info, plaintext, makeKeyPair = freshKeyPair) {
  const ephemeral = await makeKeyPair();
  const dh = await exchange(ephemeral, receiverPublic);
  const { key, nonce } = await scheduleOf(await sharedSecretOf(dh, ephemeral.public, receiverPublic), info);
  return join(ephemeral.public, await gcmSeal(key, nonce, plaintext, EMPTY));
}

/** The secrets of what `receiver` was sent with `enc`: `{sharedSecret, key, nonce}`. */
export async function hpkeSecrets(receiver, enc, info) {
  return scheduleOf(await sharedSecretOf(await exchange(receiver, enc), enc, receiver.public), info);
}

/** The plaintext of `enc ‖ ciphertext`; throws BAD_HANDSHAKE. */
export async function hpkeOpen(receiver, info, sealed) {
  if (sealed.length < ENC_BYTES) throw new ProtocolError(CODES.BAD_HANDSHAKE, "sealed structure too short");
  const { key, nonce } = await hpkeSecrets(receiver, sealed.subarray(0, ENC_BYTES), info);
  return gcmOpen(key, nonce, sealed.subarray(ENC_BYTES), EMPTY, CODES.BAD_HANDSHAKE);
}

/** `length u16 ‖ structure ‖ zeros` [P-4.6]. */
export function pad(structure) {
  const used = 2 + structure.length;
  return join(u16(structure.length), structure, Buffer.alloc(Math.ceil(used / BLOCK_BYTES) * BLOCK_BYTES - used));
}

/** The structure inside the padding; throws BAD_HANDSHAKE. */
export function unpad(padded) {
  const wrong = (text) => new ProtocolError(CODES.BAD_HANDSHAKE, `padding: ${text}`);
  if (padded.length < 2) throw wrong("too short");
  const end = 2 + padded.readUInt16BE();
  if (padded.length !== Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES) throw wrong("not the smallest multiple");
  if (!isZero(padded.subarray(end))) throw wrong("not zero");
  return padded.subarray(2, end);
}
