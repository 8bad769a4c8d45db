// Structures about groups [P-7.7] to [P-7.9], and the head of a delivered group message. Only what they are made of; no rules.
import { CODES, ProtocolError } from "./errors.mjs";
import { Fields, choice, idOf, ids, maybe } from "./fields.mjs";
import * as msgpack from "./msgpack.mjs";
import { splitDelivered } from "./messages.mjs";

const JOINS = ["open", "approval", "invitation"];
const MEMBER_ROLES = ["owner", "admin", "member"];
const ROLES = [...MEMBER_ROLES, "invited", "requested", "none"];
const CHANGES = ["created", "joined", "left", "removed", "invited", "requested", "declined", "role", "muted", "changed", "dissolved"];
const [MAX_NAME, MAX_DESCRIPTION, MAX_WORDS, MAX_IDS] = [64, 1000, 200, 1000];

const name = (fields) => fields.text("name", MAX_NAME);
const description = (fields) => fields.text("description", MAX_DESCRIPTION);
const join = (fields) => choice(fields, "join", JOINS);
const user = (fields) => fields.u64("user");
const after = (fields) => ({ after: maybe(fields, "after", () => fields.u64("after")) ?? 0n });
const ofUser = (fields) => ({ user: user(fields) });
const bare = () => ({});

const REQUESTS = new Map([
  ["create", (fields) => ({
    name: name(fields), description: maybe(fields, "description", description), join: maybe(fields, "join", join),
    invited: maybe(fields, "invited", () => ids(fields, "invited", 0, MAX_IDS)),
  })],
  ["join", (fields) => ({ words: maybe(fields, "words", () => fields.text("words", MAX_WORDS)) })],
  ["invite", (fields) => ({ users: ids(fields, "users", 1, MAX_IDS) })],
  ["role", (fields) => ({ user: user(fields), role: choice(fields, "role", ["admin", "member"]) })],
  ["mute", (fields) => ({ user: user(fields), seconds: fields.u32("seconds") })],
  ["change", changeOf],
  ["approve", ofUser], ["decline", ofUser], ["remove", ofUser], ["hand_over", ofUser],
  ["leave", bare], ["dissolve", bare], ["describe", bare],
  ["list", after], ["members", after], ["pending", after],
]);

function changeOf(fields) {
  const change = {
    name: maybe(fields, "name", name), description: maybe(fields, "description", description), join: maybe(fields, "join", join),
    isMuted: maybe(fields, "is_muted", () => fields.truth("is_muted")),
  };
  if (Object.values(change).every((value) => value === null)) throw fields.wrong("op");
  return change;
}

/** What a terminal asks about groups [P-7.7]: `{op, …}`. */
export function requestOf(fields) {
  const op = choice(fields, "op", [...REQUESTS.keys()]);
  return { op, ...REQUESTS.get(op)(fields) };
}

/** A group as its asker sees it [P-7.7]. */
export function stateOf(fields) {
  return {
    group: fields.u64("group"), name: name(fields), description: description(fields), join: join(fields),
    isMuted: fields.truth("is_muted"), number: fields.u64("number"), version: fields.u64("version"), members: fields.u32("members"),
    role: choice(fields, "role", ROLES), mutedUntil: fields.u64("muted_until"), cursor: fields.u64("cursor"), joined: fields.u64("joined"),
  };
}

const memberOf = (fields) => ({
  user: user(fields), role: choice(fields, "role", MEMBER_ROLES), mutedUntil: fields.u64("muted_until"), since: fields.u64("since"),
});

const pendingOf = (fields) => ({
  user: user(fields), kind: choice(fields, "kind", ["requested", "invited"]), by: fields.u64("by"),
  words: fields.text("words", MAX_WORDS), made: fields.u64("made"),
});

/** The reply to a request: a page of one of the three lists, else a state [P-7.7]. */
export function answerOf(fields) {
  if (fields.has("groups")) return { groups: fields.list("groups", 100).map(stateOf), isMore: fields.truth("is_more") };
  if (fields.has("pending")) return { pending: fields.list("pending", 100).map(pendingOf), isMore: fields.truth("is_more") };
  if (fields.has("is_more")) {
    return { members: fields.list("members", 200).map(memberOf), version: fields.u64("version"), isMore: fields.truth("is_more") };
  }
  return stateOf(fields);
}

/** What a center says of groups unasked [P-7.9]; null for an event that is not known. */
export function pushOf(fields) {
  const event = fields.text("event");
  if (event === "groups") return { event, groups: standings(fields), isLast: fields.truth("is_last") };
  const group = () => fields.u64("group");
  if (event === "behind") return { event, group: group(), number: fields.u64("number") };
  if (!CHANGES.includes(event)) return null;
  return { event, group: group(), version: fields.u64("version"), actor: fields.u64("actor"), user: user(fields) };
}

function standings(fields) {
  const rows = fields.map.get("groups");
  if (!Array.isArray(rows) || rows.length > 500) throw fields.wrong("groups");
  return rows.map((row, i) => {
    if (!Array.isArray(row) || row.length !== 5) throw fields.wrong(`groups.${i}`);
    const [group, version, number, cursor, joined] = row.map((value, place) => idOf(fields, `groups.${i}.${place}`, value));
    return { group, version, number, cursor, joined };
  });
}

/** What a fetch of a group asks, and what it is answered [P-7.8]. */
export const fetchOf = (fields) => ({ after: fields.u64("after") });
export const fetchedOf = (fields) => ({ upTo: fields.u64("up_to"), number: fields.u64("number") });

/** `{number, accepted, body, entered, id, left}` of the content of a GROUP_MESSAGE from a center [P-7.8]. */
export function splitGroupDelivered(content) {
  const start = content.length ? 1 + content[0] : 1;
  if (content.length < start) throw new ProtocolError(CODES.BAD_COMMAND, "group message without its head");
  const head = new Fields(msgpack.decode(content.subarray(1, start)));
  return { number: head.u64("number"), accepted: head.u64("accepted"), ...splitDelivered(content.subarray(start)) };
}

/** The number in the settling of a post [P-8.8]. */
export function settledNumber(content) {
  const number = content.length === 9 && content[0] === 2 ? content.readBigUInt64BE(1) : 0n;
  if (number === 0n) throw new ProtocolError(CODES.BAD_COMMAND, "settling of a post without a number");
  return number;
}
