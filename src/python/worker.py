"""Runs one program: waits for it as one line of JSON, answers with one line of JSON, and ends."""
import errno
import io
import json
import linecache
import os
import sys
import traceback
import types

DEEPEST = 100  # levels of nesting in a result
MOST_FRAMES = 8  # of a traceback, the innermost
MOST_COMPLAINT = 4000  # characters of a message or a traceback
MOST_FILES = 1 << 16  # numbers of open files


class TooMuchOutput(BaseException):
    """More was printed than is kept."""


class Sink(io.BytesIO):
    """Keeps what is printed, up to a limit in bytes."""

    def __init__(self, limit):
        super().__init__()
        self.limit, self.full = limit, False

    def write(self, data):
        if self.tell() + len(data) > self.limit:
            self.full = True
            raise TooMuchOutput
        return super().write(data)

    def close(self):
        """Stays readable for the answer."""

    def text(self):
        return self.getvalue().decode("utf-8", "replace")

    def stream(self):
        return io.TextIOWrapper(self, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)


def plain(value, depth=0):
    """Returns a value as JSON can hold it; what JSON has no form for stays, and becomes text later."""
    if depth > DEEPEST:
        raise ValueError(f"`result` is nested more than {DEEPEST} levels deep, or holds itself")
    if isinstance(value, dict):
        return {key: plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        raise ValueError(f"`result` holds {value!r}, which JSON cannot; use None or a text")
    return value


def encoded(answer):
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, default=str)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("`result` holds a lone surrogate, half a character that no text may hold") from None


def refused(error):
    """Tells whether the sandbox is behind an exception."""
    for _ in range(10):
        if isinstance(error, PermissionError) and error.errno in (errno.EPERM, errno.EACCES):
            return True
        # A name is looked up over sockets, and the resolver does not tell why it had none.
        if error is None or type(error).__name__ == "gaierror":
            return error is not None
        error = error.__cause__ or error.__context__
    return False


def only(file, report):
    """Takes every frame out of a traceback that is not the program's own."""
    while report is not None:
        report.stack = traceback.StackSummary.from_list([frame for frame in report.stack if frame.filename == file])
        report = report.__cause__ or report.__context__


def complaint(error, file, printed, errors):
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    report = traceback.TracebackException(type(error), error, error.__traceback__, limit=-MOST_FRAMES)
    only(file, report)
    told = errors.text() + "".join(report.format())
    fields = {"error": text[:MOST_COMPLAINT], "traceback": told[-MOST_COMPLAINT:], "printed": printed.text()}
    # Surrogates in a message must not lose the message.
    fields = {name: text.encode("utf-8", "backslashreplace").decode("utf-8") for name, text in fields.items()}
    return {"refused" if refused(error) else "raised": fields}


def execute(request, module, printed, errors):
    file, code = request["file"], request["code"]
    linecache.cache[file] = (len(code), None, code.splitlines(True), file)
    try:
        program = compile(code, file, "exec", dont_inherit=True)
    except (MemoryError, RecursionError):
        # The compiler's stack is meant, not the memory.
        return complaint(SyntaxError("the source is nested too deeply to be compiled"), file, printed, errors)
    try:
        exec(program, module.__dict__)
    except SystemExit as stop:
        if stop.code not in (None, 0):
            return complaint(stop, file, printed, errors)
    return {"answered": {"result": plain(module.__dict__.get("result")), "printed": printed.text()}}


def answer(request):
    """Runs the program and returns the bytes of the answer."""
    printed, errors = Sink(request["most_printed"]), Sink(request["most_printed"])
    sys.stdout, sys.stderr = printed.stream(), errors.stream()
    module = types.ModuleType("__main__")
    module.__dict__.update({"json": json, "result": None, **request["names"]})
    sys.modules["__main__"] = module
    try:
        try:
            line = encoded(execute(request, module, printed, errors))
        except (MemoryError, TooMuchOutput):
            raise
        except BaseException as error:
            line = encoded(complaint(error, request["file"], printed, errors))
    except MemoryError:
        module.__dict__.clear()
        return b'"out_of_memory"'
    except TooMuchOutput:
        return b'"too_much_output"'
    if printed.full or errors.full or len(line) > request["most_answered"]:
        return b'"too_much_output"'
    return line


def main():
    os.closerange(3, MOST_FILES)  # what the server may have got from whoever started it, and passed on
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # nobody needed this spare
    for stream in range(3):
        os.dup2(nowhere, stream)
    answers.write(answer(json.loads(line)) + b"\n")
    answers.flush()
    os._exit(0)  # threads of the program are not waited for


main()
