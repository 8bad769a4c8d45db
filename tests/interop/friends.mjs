// Structures about friends, profiles and presence [P-7.10], [P-7.15], [P-7.16], and the hashes of a friend list [P-7.14]. No rules.
import { createHash } from "node:crypto";
import { join, u16, u32, u64 } from "./bytes.mjs";
import { choice, idOf, ids, maybe } from "./fields.mjs";
import { COMMANDS } from "./messages.mjs";

const SEARCHABLE = ["everybody", "name", "nobody"];
const ASKING = ["everybody", "nobody"];
const ONLINE = ["online", "away", "busy"];
const EVENTS = ["list", "asked", "accepted", "withdrawn"];
const [MAX_NAME, MAX_WORDS, MAX_AVATAR, MAX_SIGNATURE, MAX_STATUS] = [64, 200, 255, 200, 100];
const ROOT_BYTES = 32;

const user = (fields) => fields.u64("user");
const group = (fields) => fields.u32("group");
const position = (fields) => fields.u32("position");
const groupName = (fields) => fields.text("name", MAX_NAME);
const after = (fields) => maybe(fields, "after", () => fields.u64("after")) ?? 0n;
const ofUser = (fields) => ({ user: user(fields) });
const afterOnly = (fields) => ({ after: after(fields) });
const textOrNone = (fields, name, most) => maybe(fields, name, () => fields.text(name, most));
const textOrEmpty = (fields, name, most) => textOrNone(fields, name, most) ?? "";
const rows = (fields, name, most, read) => fields.list(name, most).map(read);
const isMore = (fields) => fields.truth("is_more");

function ofSomething(fields, change) {
  if (Object.values(change).every((value) => value === null)) throw fields.wrong("op");
  return change;
}

const wishesOf = (fields) => ({
  searchable: maybe(fields, "searchable", () => choice(fields, "searchable", SEARCHABLE)),
  asking: maybe(fields, "asking", () => choice(fields, "asking", ASKING)),
});

const FRIENDS = new Map([
  ["sync", (fields) => ({ version: fields.u64("version"), root: fields.bytes("root", ROOT_BYTES) })],
  ["list", (fields) => ({ group: group(fields), after: after(fields) })],
  ["requests", afterOnly], ["blocked", afterOnly],
  ["search", (fields) => ({ text: fields.text("text", MAX_NAME) })],
]);

const FRIEND_CHANGES = new Map([
  ["ask", (fields) => ({ user: user(fields), words: textOrEmpty(fields, "words", MAX_WORDS) })],
  ["accept", (fields) => ({ user: user(fields), group: maybe(fields, "group", group) ?? 0 })],
  ["refuse", ofUser], ["ignore", ofUser], ["withdraw", ofUser], ["remove", ofUser], ["block", ofUser], ["unblock", ofUser],
  ["remark", (fields) => ({ user: user(fields), remark: fields.text("remark", MAX_NAME) })],
  ["move", (fields) => ({ user: user(fields), group: group(fields) })],
  ["add_group", (fields) => ({ name: groupName(fields), position: position(fields) })],
  ["change_group", (fields) => ({
    group: group(fields), ...ofSomething(fields, { name: maybe(fields, "name", groupName), position: maybe(fields, "position", position) }),
  })],
  ["remove_group", (fields) => ({ group: group(fields) })],
]);

const PROFILES = new Map([
  ["set", (fields) => ofSomething(fields, {
    displayName: textOrNone(fields, "display_name", MAX_NAME), avatar: textOrNone(fields, "avatar", MAX_AVATAR),
    signature: textOrNone(fields, "signature", MAX_SIGNATURE), ...wishesOf(fields),
  })],
  ["get", (fields) => ({ users: ids(fields, "users", 1, 100) })],
]);

const REQUESTS = new Map([[COMMANDS.FRIENDS, FRIENDS], [COMMANDS.FRIEND_CHANGE, FRIEND_CHANGES], [COMMANDS.SIGNATURE, PROFILES]]);

function requestOf(fields, kinds) {
  const op = choice(fields, "op", [...kinds.keys()]);
  return { op, ...kinds.get(op)(fields) };
}

const setPresenceOf = (fields) => ({
  state: choice(fields, "state", [...ONLINE, "invisible"]), text: textOrEmpty(fields, "text", MAX_STATUS),
});

const friendOf = (fields) => ({
  user: user(fields), group: group(fields), name: fields.text("name"), remark: textOrEmpty(fields, "remark", MAX_NAME), ...shownOf(fields),
});

const shownOf = (fields) => ({
  displayName: textOrEmpty(fields, "display_name", MAX_NAME), avatar: textOrEmpty(fields, "avatar", MAX_AVATAR),
  signature: textOrEmpty(fields, "signature", MAX_SIGNATURE),
});

const hashedGroupOf = (fields) => ({
  id: fields.u32("id"), name: groupName(fields), position: position(fields), hash: fields.bytes("hash", 16),
});

const listOf = (fields) => ({ version: fields.u64("version"), root: fields.bytes("root", ROOT_BYTES) });

const syncedOf = (fields) => ({
  ...listOf(fields), groups: maybe(fields, "groups", () => rows(fields, "groups", 128, hashedGroupOf)),
  changed: maybe(fields, "changed", () => rows(fields, "changed", 100, friendOf)) ?? [],
  removed: maybe(fields, "removed", () => ids(fields, "removed", 0, 1000)) ?? [],
  hasChanges: maybe(fields, "has_changes", () => fields.truth("has_changes")) ?? false,
});

const askOf = (fields) => ({
  user: user(fields), name: fields.text("name"), words: textOrEmpty(fields, "words", MAX_WORDS), made: fields.u64("made"),
});

const incomingOf = (fields) => ({ ...askOf(fields), isIgnored: fields.truth("is_ignored") });

const namedOf = (fields) => ({ user: user(fields), name: fields.text("name") });

const foundOf = (fields) => ({ ...namedOf(fields), displayName: textOrEmpty(fields, "display_name", MAX_NAME) });

/** The reply to FRIENDS is told apart by what it has [P-7.15]. */
function friendsOf(fields) {
  if (fields.has("root")) return syncedOf(fields);
  if (fields.has("friends")) {
    return { friends: rows(fields, "friends", 100, friendOf), version: fields.u64("version"), isMore: isMore(fields) };
  }
  if (fields.has("incoming")) {
    return { incoming: rows(fields, "incoming", 100, incomingOf), outgoing: rows(fields, "outgoing", 100, askOf), isMore: isMore(fields) };
  }
  if (fields.has("is_more")) return { blocked: rows(fields, "users", 100, namedOf), isMore: isMore(fields) };
  return { found: rows(fields, "users", 20, foundOf) };
}

const profileOf = (fields) => ({
  ...namedOf(fields), version: fields.u64("version"), ...shownOf(fields), ...wishesOf(fields),
});

const profilesOf = (fields) => (
  fields.has("profiles") ? { profiles: rows(fields, "profiles", 100, profileOf), isMore: isMore(fields) } : profileOf(fields)
);

function onlineOf(fields) {
  const places = fields.map.get("places");
  if (!Array.isArray(places) || places.length > 64) throw fields.wrong("places");
  return {
    user: user(fields), state: choice(fields, "state", ONLINE), text: textOrEmpty(fields, "text", MAX_STATUS),
    places: places.map((place, i) => {
      if (!Array.isArray(place) || place.length !== 2) throw fields.wrong(`places.${i}`);
      const [endpoint, center] = place.map((value, at) => idOf(fields, `places.${i}.${at}`, value));
      return { endpoint, center };
    }),
  };
}

function onlinePageOf(fields) {
  const upTo = isMore(fields) ? fields.u64("up_to") : null;
  if (upTo === 0n) throw fields.wrong("up_to");
  return { online: rows(fields, "online", 300, onlineOf), isComplete: fields.truth("is_complete"), upTo };
}

const ANSWERS = new Map([
  [COMMANDS.FRIENDS, friendsOf], [COMMANDS.FRIEND_CHANGE, listOf], [COMMANDS.SIGNATURE, profilesOf],
  [COMMANDS.FRIENDS_ONLINE, onlinePageOf], [COMMANDS.PRESENCE, setPresenceOf],
]);

const presenceOf = (fields) => ({
  user: user(fields), state: choice(fields, "state", [...ONLINE, "offline"]), text: textOrEmpty(fields, "text", MAX_STATUS),
});

/** What a center says unasked; null for an event that is not known. */
function pushOf(fields, command) {
  if (command === COMMANDS.PRESENCE) return { changes: rows(fields, "changes", 500, presenceOf) };
  const event = fields.text("event");
  if (!EVENTS.includes(event)) return null;
  return { event, version: fields.u64("version"), user: user(fields), words: textOrEmpty(fields, "words", MAX_WORDS) };
}

/** A function that reads the content of a message about friends, profiles or presence; null for any other command. */
export function friendStructureOf(command, isFromCenter, isReply) {
  if (!ANSWERS.has(command)) return null;
  if (isFromCenter) return isReply ? ANSWERS.get(command) : (fields) => pushOf(fields, command);
  if (REQUESTS.has(command)) return (fields) => requestOf(fields, REQUESTS.get(command));
  return command === COMMANDS.PRESENCE ? setPresenceOf : afterOnly;
}

const md5 = (bytes) => createHash("md5").update(bytes).digest();

function text(value) {
  const bytes = Buffer.from(value, "utf-8");
  return join(u16(bytes.length), bytes);
}

const ascending = (values, idOfOne) => [...values].sort((a, b) => (idOfOne(a) < idOfOne(b) ? -1 : 1));

/** The canonical form of a group's friends: `[{user, name, remark, displayName, avatar, signature}]` in any order [P-7.14]. */
export function canonicalFriends(friends) {
  const texts = ["name", "remark", "displayName", "avatar", "signature"];
  const inOrder = ascending(friends, (friend) => friend.user);
  return join(...inOrder.map((friend) => join(u64(friend.user), ...texts.map((key) => text(friend[key])))));
}

/** The canonical form of a list of groups: `[{id, position, name}]` in any order. */
export const canonicalGroups = (groups) => (
  join(...ascending(groups, (one) => one.id).map((one) => join(u32(one.id), u32(one.position), text(one.name))))
);

/** `{root, hashes}` of groups, each with its `friends`; hashes: by group id. */
export function hashList(groups) {
  const hashes = new Map(groups.map((one) => [one.id, md5(canonicalFriends(one.friends))]));
  if (!groups.length) return { root: Buffer.alloc(ROOT_BYTES), hashes };
  const inOrder = ascending(groups, (one) => one.id).map((one) => hashes.get(one.id));
  return { root: join(md5(canonicalGroups(groups)), md5(join(...inOrder))), hashes };
}
