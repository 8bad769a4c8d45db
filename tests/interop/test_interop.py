"""What lives here: the second client (JavaScript, written from docs/protocol.md alone) against the worked examples and a real node.

What must not: anything that reaches into the server or the SDK. Everything is done by programs that are started, as a stranger would,
because the promise is that the page is enough.
"""

import json
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VECTORS = ROOT / "tests" / "wire" / "vectors"
PASSWORD = "purple-otter-Lamp-71"
START_SECONDS = 30.0
RUN_SECONDS = 60.0
CENTER_LINE = re.compile(r"^\s*center\s+(\S+:\d+)")
LOGIN_LINE = re.compile(r"^\s*login center\s+(\S+:\d+)")

Line = dict[str, Any]


class Lines:
    """The lines a program prints, read as they come; `next` waits for one with a deadline."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[str] = []
        self._arrived: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._arrived.put(line)
        self._arrived.put(None)

    def next(self, seconds: float) -> str | None:
        """The next line, None at the end; fails when none comes within `seconds`."""
        try:
            line = self._arrived.get(timeout=max(0.0, seconds))
        except queue.Empty:
            pytest.fail(f"no further line in time after: {''.join(self.seen)}")
        if line is not None:
            self.seen.append(line)
        return line

    def find(self, pattern: re.Pattern[str], seconds: float) -> str:
        """The first group of the first line from here on that matches."""
        deadline = time.monotonic() + seconds
        while (line := self.next(deadline - time.monotonic())) is not None:
            if found := pattern.search(line):
                return found.group(1)
        pytest.fail(f"ended without {pattern.pattern}: {''.join(self.seen)}")

    def rest(self, seconds: float) -> list[str]:
        """All further lines until the program closes its output."""
        deadline = time.monotonic() + seconds
        lines = []
        while (line := self.next(deadline - time.monotonic())) is not None:
            lines.append(line)
        self._reader.join(seconds)
        return lines


class Node:
    """A node of its own in a temporary directory, which can be killed and started again at the same addresses."""

    def __init__(self, directory: Path, login: str = "127.0.0.1:0", center: str = "127.0.0.1:0", limits: str = "") -> None:
        """`limits`: further lines of the section `center`, then whole sections."""
        directory.mkdir()
        self.directory = directory
        self.config = directory / "myim.yaml"
        self.config.write_text(
            f"node:\n  data_dir: {directory / 'data'}\n  allow_any_port: true\n"
            + f'login:\n  listen: "{login}"\ncenter:\n  listen: "{center}"\n{limits}'
        )
        self.login = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> "Node":
        command = [sys.executable, "-m", "myim_server", "node", "--config", str(self.config)]
        with (self.directory / "stderr").open("a") as errors:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        self.lines = Lines(self.process)
        self.login = self.lines.find(LOGIN_LINE, START_SECONDS)
        self.lines.find(CENTER_LINE, START_SECONDS)
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(RUN_SECONDS)
            self.lines.rest(RUN_SECONDS)
            self.process = None


class Terminal:
    """One user at one home of the JavaScript client."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name

    def enter(self, command: str, login: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        where = ["--login", login, "--name", self.name, "--password-stdin", "--home", str(self.home)]
        return run_client([command, *where], stdin=password + "\n")

    def send(self, to: str, *texts: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        return run_client(["send", "--home", str(self.home), "--to", to, "--seconds", str(seconds), *texts])

    def listen(self, *wishes: str, seconds: float = 30) -> list[Line]:
        done = run_client(["listen", "--home", str(self.home), "--seconds", str(seconds), *wishes])
        assert done.returncode == 0, done.stdout + done.stderr
        return lines_of(done)

    def start_listening(self, *wishes: str, seconds: float = 30) -> subprocess.Popen[str]:
        command = ["listen", "--home", str(self.home), "--seconds", str(seconds), *wishes]
        return subprocess.Popen(client_command(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def client_command(arguments: list[str]) -> list[str]:
    return ["node", str(HERE / "myim.mjs"), *arguments]


def run_client(arguments: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(client_command(arguments), input=stdin, capture_output=True, text=True, timeout=RUN_SECONDS)


def lines_of(done: subprocess.CompletedProcess[str]) -> list[Line]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def values(lines: list[Line], key: str) -> list[Any]:
    return [line[key] for line in lines if key in line]


def free_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("interop") / "node")
    try:
        yield node.start()
    finally:
        node.kill()


def register(login: str, directory: Path, *names: str) -> list[Terminal]:
    terminals = [Terminal(directory / name, name) for name in names]
    for terminal in terminals:
        done = terminal.enter("register", login)
        assert done.returncode == 0, done.stdout + done.stderr
    return terminals


def test_a_client_written_from_the_page_agrees_with_every_worked_example() -> None:
    done = run_client(["vectors", str(VECTORS)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == len(list(VECTORS.glob("*.json"))) == 10


@pytest.mark.parametrize(
    ("file", "field"),
    [("login.json", "S2"), ("center.json", "finished"), ("rekey.json", "exporter"), ("token.json", "token"), ("records.json", "iv")],
)
def test_a_worked_example_with_another_byte_is_noticed(tmp_path: Path, file: str, field: str) -> None:
    shutil.copytree(VECTORS, tmp_path / "vectors")
    path = tmp_path / "vectors" / file
    example = json.loads(path.read_text())
    example[field] = ("0" if example[field][0] != "0" else "1") + example[field][1:]
    path.write_text(json.dumps(example))
    done = run_client(["vectors", str(tmp_path / "vectors")])
    assert done.returncode == 1
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("MISMATCH")] == [file + ":"]


def test_a_friend_list_with_another_text_or_id_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(VECTORS, tmp_path / "vectors")
    path = tmp_path / "vectors" / "friends.json"
    written = path.read_text()
    for old, new in (('"name": "nine",', '"name": "nino",'), ('"remark": "nine"', '"display_name": "nine"'), ('"id": 200', '"id": 2')):
        assert old in written
        path.write_text(written.replace(old, new))
        done = run_client(["vectors", str(tmp_path / "vectors")])
        assert done.returncode == 1 and "MISMATCH  friends.json" in done.stdout


def test_two_users_write_to_each_other_while_one_is_away(node: Node, tmp_path: Path) -> None:
    anna, berta = register(node.login, tmp_path, "anna", "berta")
    texts = ["one", "zwei ß", "三 🙂"]
    sent = anna.send("Berta", *texts)
    assert values(lines_of(sent), "settled") == ["stored"] * 3, sent.stdout + sent.stderr

    fetched = berta.listen("--count", "3", "--rekey", "--renew")
    assert values(fetched, "message") == texts
    assert values(fetched, "fetched") == [3]
    assert values(fetched, "rekeyed") == [1]
    assert values(fetched, "named") == ["anna"]
    assert values(berta.listen("--count", "0"), "message") == []

    assert values(lines_of(berta.send("anna", "and back")), "settled") == ["stored"]
    received = anna.listen("--count", "1", "--receipts", "3")
    assert values(received, "message") == ["and back"]
    assert [line["time"] for line in received if "receipt" in line] == [line["time"] for line in lines_of(sent)]
    afterwards = anna.listen("--count", "0")
    assert (values(afterwards, "receipt"), values(afterwards, "repeats")) == ([], [0])
    again = berta.listen("--count", "0", "--receipts", "1")
    assert values(again, "receipt") == ["received"]


def test_what_is_sent_to_one_who_listens_is_received_across_rekeys(node: Node, tmp_path: Path) -> None:
    clara, doris = register(node.login, tmp_path, "clara", "doris")
    texts = [f"number {i}" for i in range(300)] + ["x" * 30_000, "y" * 32_768]
    with doris.start_listening("--count", str(len(texts)), "--rekey", "--rekey") as listening:
        lines = Lines(listening)
        lines.find(re.compile('("rekeyed":2)'), RUN_SECONDS)
        sent = clara.send("doris", *texts)
        printed = [json.loads(line) for line in lines.rest(RUN_SECONDS)]
        assert listening.wait(RUN_SECONDS) == 0
    assert set(values(lines_of(sent), "settled")) == {"received"}, sent.stdout + sent.stderr
    assert values(printed, "message") == texts


def test_what_is_unsettled_goes_out_first_and_in_order_at_the_next_session(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", login=free_address(), center=free_address())
    try:
        node.start()
        ellen, frida = register(node.login, tmp_path, "ellen", "frida")
        assert ellen.send("frida", "zero").returncode == 0
        node.kill()
        unsettled = ellen.send("frida", "one", "two", seconds=1)
        assert unsettled.returncode == 1
        assert values(lines_of(unsettled), "settled") == []
        node.start()
        assert [line["text"] for line in lines_of(ellen.send("frida", "three")) if "settled" in line] == ["one", "two", "three"]
        assert values(frida.listen("--count", "4"), "message") == ["zero", "one", "two", "three"]
    finally:
        node.kill()


def test_a_listener_killed_again_and_again_shows_each_stored_message_once_and_in_order(node: Node, tmp_path: Path) -> None:
    marta, nora = register(node.login, tmp_path, "marta", "nora")
    texts = [f"number {i}" for i in range(200)]
    assert marta.send("nora", *texts).returncode == 0
    for _ in range(2):
        with nora.start_listening("--count", str(len(texts) + 1)) as listening:
            lines = Lines(listening)
            lines.find(re.compile('("message"|"fetched")'), RUN_SECONDS)
            listening.kill()
            lines.rest(RUN_SECONDS)
    nora.listen("--count", "0")
    shown = [json.loads(line) for line in (nora.home / "shown.jsonl").read_text().splitlines()]
    assert values(shown, "text") == texts


def test_what_is_refused_for_now_goes_out_again_in_order(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", limits="  messages_per_second: 10\n")
    try:
        olga, paula = register(node.start().login, tmp_path, "olga", "paula")
        texts = [f"number {i}" for i in range(40)]
        sent = lines_of(olga.send("paula", *texts))
        assert "SLOW_DOWN" in values(sent, "retrying")
        assert [line["text"] for line in sent if line.get("settled") == "stored"] == texts
        assert values(paula.listen("--count", str(len(texts))), "message") == texts
    finally:
        node.kill()


def test_a_message_refused_for_good_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", limits="delivery:\n  offline_rows_per_user: 5\n")
    try:
        rosa, selma = register(node.start().login, tmp_path, "rosa", "selma")
        sent = lines_of(rosa.send("selma", *[f"number {i}" for i in range(8)]))
        assert [line["settled"] for line in sent if "settled" in line] == ["stored"] * 5 + ["refused"] * 3
        assert set(values(sent, "code")) == {"RECIPIENT_FULL"}
        assert len(values(selma.listen("--count", "5"), "message")) == 5
        assert values(lines_of(rosa.send("selma", "there is room again")), "settled") == ["stored"]
    finally:
        node.kill()


def test_refusals_are_told_by_their_names(node: Node, tmp_path: Path) -> None:
    (gerda,) = register(node.login, tmp_path, "gerda")
    assert "NOT_ALLOWED" in gerda.send("nobody-of-this-name", "hello").stderr
    assert "LOGIN_FAILED" in gerda.enter("login", node.login, password="not her password").stderr
    assert "NAME_TAKEN" in Terminal(tmp_path / "other", "GERDA").enter("register", node.login).stderr
    to_herself = lines_of(gerda.send("gerda", "hello"))
    assert [(line["settled"], line["code"]) for line in to_herself] == [("refused", "BAD_COMMAND")]


def test_a_login_center_with_another_identity_than_the_pinned_one_gets_no_credentials(node: Node, tmp_path: Path) -> None:
    (hanna,) = register(node.login, tmp_path, "hanna")
    impostor = Node(tmp_path / "impostor")
    try:
        done = hanna.enter("register", impostor.start().login)
    finally:
        impostor.kill()
    assert done.returncode == 1
    assert "another identity" in done.stderr


def test_a_newer_session_of_the_same_terminal_replaces_the_older_for_good(node: Node, tmp_path: Path) -> None:
    (ida,) = register(node.login, tmp_path, "ida")
    with ida.start_listening() as older:
        lines = Lines(older)
        lines.find(re.compile('("fetched")'), RUN_SECONDS)
        shutil.copytree(ida.home, tmp_path / "copy", ignore=shutil.ignore_patterns("lock"))
        newer = Terminal(tmp_path / "copy", "ida").listen("--count", "0")
        rest = lines.rest(RUN_SECONDS)
        assert older.wait(RUN_SECONDS) == 1
    assert values(newer, "ended") == ["done"]
    assert any("REPLACED" in line for line in rest), rest


def test_a_login_raises_the_generation_and_the_connection_numbers_start_anew(node: Node, tmp_path: Path) -> None:
    (judith,) = register(node.login, tmp_path, "judith")
    shutil.copytree(judith.home, tmp_path / "before")
    for _ in range(3):
        judith.listen("--count", "0")
    assert judith.enter("login", node.login).returncode == 0
    assert json.loads((judith.home / "session.json").read_text())["connectionNumber"] == "0"
    judith.listen("--count", "0")
    before = run_client(["listen", "--home", str(tmp_path / "before"), "--count", "0", "--seconds", "10"])
    assert before.returncode == 1
    assert "TOKEN_REVOKED" in before.stderr


def test_the_javascript_client_and_the_console_write_to_each_other(node: Node, tmp_path: Path) -> None:
    (karin,) = register(node.login, tmp_path, "karin")
    console = [str(Path(sys.executable).with_name("myim")), "--server", node.login, "--home", str(tmp_path / "console")]

    def run_console(*arguments: str, stdin: str = "") -> str:
        done = subprocess.run([*console, *arguments], input=stdin, capture_output=True, text=True, timeout=RUN_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run_console("register", "lars", "--password-stdin", stdin=PASSWORD + "\n")
    assert run_console("send", "lars", "karin", "grüße from the console").strip() == "stored"
    assert values(karin.listen("--count", "1"), "message") == ["grüße from the console"]
    assert values(lines_of(karin.send("lars", "one from JavaScript", "two 🙂")), "settled") == ["stored", "stored"]
    printed = run_console("inbox", "lars")
    assert printed.index("one from JavaScript") < printed.index("two 🙂")
    assert values(karin.listen("--receipts", "2"), "receipt") == ["received"] * 2
