// Structures about accounts [P-7.17]. No rules.
import { choice, maybe } from "./fields.mjs";
import { COMMANDS } from "./messages.mjs";

const [MAX_NAME, MAX_ADDRESS, MAX_SLOT, MAX_PART, TAG] = [64, 128, 63, 49_152, 8];

function slot(fields) {
  const value = fields.u8("slot");
  if (value > MAX_SLOT) throw fields.wrong("slot");
  return value;
}

const named = (fields) => ({ slot: slot(fields), name: fields.text("name", MAX_NAME) });

const REQUESTS = new Map([
  ["terminals", () => ({})],
  ["rename", named],
  ["revoke", (fields) => ({ slot: maybe(fields, "slot", slot) })],
  ["acknowledge", (fields) => ({ slot: slot(fields) })],
  ["logins", (fields) => ({ before: maybe(fields, "before", () => fields.u64("before")) ?? 0n })],
  ["export", (fields) => ({ part: fields.u32("part") })],
]);

function requestOf(fields) {
  const op = choice(fields, "op", [...REQUESTS.keys()]);
  return { op, ...REQUESTS.get(op)(fields) };
}

const terminalOf = (fields) => ({
  ...named(fields), tag: fields.text("tag", TAG), firstSeen: fields.u64("first_seen"), lastSeen: fields.u64("last_seen"),
  address: fields.text("address", MAX_ADDRESS), isOnline: fields.truth("is_online"), isThis: fields.truth("is_this"),
  isNew: fields.truth("is_new"), isRevoked: fields.truth("is_revoked"),
});

const loginOf = (fields) => ({
  time: fields.u64("time"), address: fields.text("address", MAX_ADDRESS), terminal: fields.text("terminal", MAX_NAME), slot: slot(fields),
  isNewTerminal: fields.truth("is_new_terminal"), isNewNetwork: fields.truth("is_new_network"),
});

/** The reply to ACCOUNT is told apart by what it has. */
function answerOf(fields) {
  if (fields.has("terminals")) return { terminals: fields.list("terminals", 64).map(terminalOf) };
  if (fields.has("logins")) return { logins: fields.list("logins", 50).map(loginOf), isMore: fields.truth("is_more") };
  const data = fields.bytes("data");
  if (data.length > MAX_PART) throw fields.wrong("data");
  return { part: fields.u32("part"), data, isLast: fields.truth("is_last") };
}

function pushOf(fields) {
  choice(fields, "event", ["new_terminal"]);
  return { ...named(fields), address: fields.text("address", MAX_ADDRESS), time: fields.u64("time") };
}

/** A function that reads the content of an ACCOUNT; null for any other command. */
export function accountStructureOf(command, isFromCenter, isReply) {
  if (command !== COMMANDS.ACCOUNT) return null;
  return isFromCenter ? (isReply ? answerOf : pushOf) : requestOf;
}
