// The command-line program of the second client. Answers are JSON lines on stdout; exit 0 done, 1 not done, 2 wrong usage.
import fs from "node:fs";
import os from "node:os";
import { parseArgs } from "node:util";
import { Client } from "./client.mjs";
import { Home } from "./home.mjs";
import { ListenJob, SendJob } from "./jobs.mjs";
import { checkVectors } from "./vectors.mjs";

const USAGE = `usage: myim.mjs vectors DIR
       myim.mjs register|login --login HOST:PORT --name NAME --password-stdin --home DIR
       myim.mjs servers --login HOST:PORT --home DIR
       myim.mjs send --home DIR --to NAME [--seconds S] TEXT…
       myim.mjs listen --home DIR [--count N] [--receipts N] [--seconds S] [--rekey]… [--renew]`;
const OPTIONS = {
  login: { type: "string" }, name: { type: "string" }, "password-stdin": { type: "boolean" }, home: { type: "string" },
  to: { type: "string" }, seconds: { type: "string", default: "60" }, count: { type: "string" },
  receipts: { type: "string" }, rekey: { type: "boolean", multiple: true }, renew: { type: "boolean" },
};

class UsageError extends Error {}

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function needed(options, ...names) {
  for (const name of names) if (options[name] === undefined) throw new UsageError(`--${name} is missing`);
}

function number(options, name) {
  if (options[name] === undefined) return null;
  const value = Number(options[name]);
  if (!Number.isFinite(value) || value < 0) throw new UsageError(`--${name} is no number`);
  return value;
}

function address(text) {
  const at = text.lastIndexOf(":");
  const port = Number(text.slice(at + 1));
  if (at < 1 || !Number.isInteger(port) || port < 1 || port > 65535) throw new UsageError("--login is not HOST:PORT");
  return [text.slice(0, at).replace(/^\[|\]$/g, ""), port];
}

async function enter(op, client, options) {
  needed(options, "login", "name", "password-stdin");
  const password = fs.readFileSync(0, "utf-8").replace(/\r?\n$/, "");
  const terminal = os.hostname().slice(0, 64);
  const grant = await client.login(...address(options.login), { op, name: options.name, password, terminal });
  print({
    [op === "login" ? "loggedIn" : "registered"]: grant.name, user: String(grant.user), slot: grant.slot,
    newTerminal: grant.newTerminal, newNetwork: grant.newNetwork,
  });
  return true;
}

async function servers(client, options) {
  needed(options, "login");
  for (const server of await client.servers(...address(options.login))) print({ ...server, node: String(server.node) });
  return true;
}

const deadlineOf = (options) => performance.now() + number(options, "seconds") * 1000;

async function send(client, options, texts) {
  needed(options, "to");
  if (!texts.length) throw new UsageError("no text");
  let areAllTaken = true;
  const watched = client.print;
  client.print = (line) => {
    if (line.settled === "refused" || line.settled === "unknown") areAllTaken = false;
    watched(line);
  };
  return (await client.stay(new SendJob(options.to, texts), deadlineOf(options))) && areAllTaken;
}

async function listen(client, options) {
  const job = new ListenJob({
    count: number(options, "count"), receipts: number(options, "receipts"),
    rekeys: (options.rekey ?? []).length, isRenewing: Boolean(options.renew),
  });
  const isDone = await client.stay(job, deadlineOf(options));
  print({ ended: isDone ? "done" : "time", repeats: client.repeatCount });
  return isDone || job.isEndless;
}

async function withHome(options, act) {
  needed(options, "home");
  const home = new Home(options.home);
  try {
    return await act(new Client(home, print));
  } finally {
    home.close();
  }
}

async function run(argv) {
  const { values: options, positionals } = parseArgs({ args: argv, options: OPTIONS, allowPositionals: true });
  const [command, ...rest] = positionals;
  switch (command) {
    case "vectors":
      if (rest.length !== 1) throw new UsageError("vectors wants one directory");
      return checkVectors(rest[0], (line) => process.stdout.write(line + "\n"));
    case "register": case "login": return withHome(options, (client) => enter(command, client, options));
    case "servers": return withHome(options, (client) => servers(client, options));
    case "send": return withHome(options, (client) => send(client, options, rest));
    case "listen": return withHome(options, (client) => listen(client, options));
    default: throw new UsageError("no such command");
  }
}

try {
  process.exitCode = (await run(process.argv.slice(2))) ? 0 : 1;
} catch (error) {
  const isUsage = error instanceof UsageError || error.code?.startsWith?.("ERR_PARSE_ARGS");
  process.stderr.write(`${error.message}\n${isUsage ? `${USAGE}\n` : ""}`);
  process.exitCode = isUsage ? 2 : 1;
}
