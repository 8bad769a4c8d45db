// SHA-256, HMAC, HKDF (RFC 5869), X25519 (RFC 7748) and Ed25519 (RFC 8032), all from WebCrypto.
import { webcrypto } from "node:crypto";
import { ascii, fromHex, isEqual, isZero, join, u8 } from "./bytes.mjs";
import { CODES, ProtocolError } from "./errors.mjs";

const { subtle } = webcrypto;
// WebCrypto takes raw public keys, but private ones only wrapped; the wrapping of a 32-byte key is always these bytes (RFC 8410).
const X25519_PKCS8 = fromHex("302e020100300506032b656e04220420");
const ED25519_PKCS8 = fromHex("302e020100300506032b657004220420");
const HASH_BYTES = 32;

export const randomBytes = (count) => Buffer.from(webcrypto.getRandomValues(new Uint8Array(count)));

export const sha256 = async (bytes) => Buffer.from(await subtle.digest("SHA-256", bytes));

export async function hmac(key, bytes) {
  // WebCrypto refuses an HMAC key of no bytes; HMAC pads with zeros, so one zero byte is the same key.
  const imported = await subtle.importKey("raw", key.length ? key : u8(0), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return Buffer.from(await subtle.sign("HMAC", imported, bytes));
}

export const extract = (salt, ikm) => hmac(salt, ikm);

/** `info`: text (ASCII) or bytes. */
export async function expand(secret, info, length) {
  const label = typeof info === "string" ? ascii(info) : info;
  const blocks = [];
  let block = Buffer.alloc(0);
  for (let i = 1; blocks.length * HASH_BYTES < length; i++) {
    block = await hmac(secret, join(block, label, u8(i)));
    blocks.push(block);
  }
  return join(...blocks).subarray(0, length);
}

/** `{private, public}` of an X25519 private key of 32 bytes. */
export async function x25519KeyPair(privateBytes) {
  const key = await subtle.importKey("pkcs8", join(X25519_PKCS8, privateBytes), { name: "X25519" }, true, ["deriveBits"]);
  const { x } = await subtle.exportKey("jwk", key);
  return { private: privateBytes, public: Buffer.from(x, "base64url") };
}

export const freshKeyPair = () => x25519KeyPair(randomBytes(32));

/** X25519; a result of zeros is BAD_HANDSHAKE (§4). */
export async function exchange(keyPair, peer) {
  const own = await subtle.importKey("pkcs8", join(X25519_PKCS8, keyPair.private), { name: "X25519" }, false, ["deriveBits"]);
  let shared;
  try {
    const other = await subtle.importKey("raw", peer, { name: "X25519" }, true, []);
    shared = Buffer.from(await subtle.deriveBits({ name: "X25519", public: other }, own, 256));
  } catch {
    throw new ProtocolError(CODES.BAD_HANDSHAKE, "X25519 refused the public key");
  }
  if (isZero(shared)) throw new ProtocolError(CODES.BAD_HANDSHAKE, "X25519 gave zeros");
  return shared;
}

/** X25519 with an ephemeral that came from the other side: one's own, sent back, is BAD_HANDSHAKE (§4). */
export function exchangeEphemerals(keyPair, peer) {
  if (isEqual(keyPair.public, peer)) throw new ProtocolError(CODES.BAD_HANDSHAKE, "own ephemeral sent back");
  return exchange(keyPair, peer);
}

export async function ed25519Verify(publicBytes, signature, bytes) {
  try {
    const key = await subtle.importKey("raw", publicBytes, { name: "Ed25519" }, false, ["verify"]);
    return await subtle.verify({ name: "Ed25519" }, key, signature, bytes);
  } catch {
    return false;
  }
}

/** What the login center does; the worked examples need it. */
export async function ed25519Sign(privateBytes, bytes) {
  const key = await subtle.importKey("pkcs8", join(ED25519_PKCS8, privateBytes), { name: "Ed25519" }, false, ["sign"]);
  return Buffer.from(await subtle.sign({ name: "Ed25519" }, key, bytes));
}
