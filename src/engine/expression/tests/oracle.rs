//! Thousands of expressions made by chance: ours must be what Python says.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Map, Value as Json, json};

use super::super::budget::Budget;
use super::super::evaluator::Evaluator;
use super::super::parser;

/// How many expressions are made.
const EXPRESSIONS: usize = 20_000;

/// Evaluates every line of its input as the other product would, and tells type, truth and text, or nothing for an exception.
const PYTHON: &str = r"
import json, sys
class Dot:
    def __init__(self, data): self.data = data
    def __getattr__(self, key): return wrap(self.data.get(key))
    def __getitem__(self, key): return wrap(self.data.get(key) if isinstance(key, str) else None)
def wrap(value): return Dot(value) if isinstance(value, dict) else value
sys.set_int_max_str_digits(0)
state = wrap(json.loads(sys.stdin.readline()))
for line in sys.stdin:
    try:
        value = eval(json.loads(line), {'state': state})
        print(json.dumps([bool(value), str(value)]))
    except Exception:
        print('null')
";

/// Makes expressions by chance, the same ones in every run of the test.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        // The multiplier and increment are Knuth's for MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    /// Chooses between choices that have two blanks or a line break between them.
    fn one<'a>(&mut self, choices: &'a str) -> &'a str {
        let choices: Vec<&str> = choices.trim().split("  ").flat_map(str::lines).collect();
        choices[self.below(choices.len())]
    }

    /// Fills the letters of a form: N a number, T a text, L a list, A anything, I an index.
    fn filled(&mut self, form: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut letters = form.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                // The first letters of `None` and `True` stand for themselves.
                'N' | 'T' if letters.peek().is_some_and(char::is_ascii_lowercase) => out.push(letter),
                'N' => out.push_str(&self.number(depth)),
                'T' => out.push_str(&self.text(depth)),
                'L' => out.push_str(&self.list(depth)),
                'A' => out.push_str(&self.anything(depth)),
                'I' => out.push_str(self.one("0  1  -1  2  -2  5  None")),
                other => out.push(other),
            }
        }
        out
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 || self.below(3) == 0 {
            return self.one(NUMBERS).to_owned();
        }
        let form = self.one(NUMBER_FORMS);
        self.filled(form, depth - 1)
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 || self.below(3) == 0 {
            return self.one(TEXTS).to_owned();
        }
        let form = self.one(TEXT_FORMS);
        self.filled(form, depth - 1)
    }

    fn list(&mut self, depth: usize) -> String {
        if depth == 0 || self.below(3) == 0 {
            return self.one(LISTS).to_owned();
        }
        let form = self.one(LIST_FORMS);
        self.filled(form, depth - 1)
    }

    fn anything(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        match self.below(6) {
            0 => self.number(depth),
            1 => self.text(depth),
            2 => self.list(depth),
            3 => self.one("None  True  False  state.none  state.o.k  state.missing  state.o['t']  (1, 'a')  ()  {'a': 1}  {}").to_owned(),
            _ => {
                let form = self.one(ANY_FORMS);
                self.filled(form, depth)
            }
        }
    }
}

const NUMBERS: &str = r"
0  1  2  3  7  -1  -3  10  25  1_000  0x1f  0.5  2.5  -7.25  1e3  .1  3.  1e16  1e-7  123456789.125  True  state.n  state.f  state.neg
state.o.k  state.big  -0.0  9007199254740993  18446744073709551615  0.125  2.675
";

const NUMBER_FORMS: &str = r"
(N + N)  (N - N)  N * N  (N / N)  (N // N)  (N % N)  (-N)  +N  (N) ** 2  (N) ** -1  N ** 3  2 ** 0.5  abs(N)  round(N)  round(N, 1)
round(N, 2)  round(N, -1)  int(N)  float(N)  min(N, N)  max(N, N, N)  sum([N, N])  len(L)  len(T)  T.count(T)  T.find(T)  T.index(T)
L.count(A)  int('12')  (N & N)  N | N  N ^ 3  ~N  N << 3  N >> 1  bool(A)  (N if A else N)  - N % N  N - N - N  2 + N * N ** 2  int(T)
float(str(N))  -2 ** 2  (N) ** 0.5  round(N, None)  T.rfind(T)  (N).bit_length()  state.n.bit_length()
";

const TEXTS: &str = r#"
''  'a'  "b"  'ab'  'Hello World'  ' \t x y '  'a,b,,c'  'it\'s'  "q'"  'é😀'  r'\n'  '\t\x41\u00e9\101'  '''tri\'\"ple'''  'one' 'two'
'12'  ' 7 '  state.t  state.name  state.o.t  'ß'  'a1'  'ABC'  '\q'  '1e5'  'x\r\ny\u2028z'  'nan'  '_1'  '1_0'
"#;

const TEXT_FORMS: &str = r"
(T + T)  T * 2  T[I:I]  T[I:I:I]  T[0]  T[-1]  T[1:]  T[:-1]  T[::-1]  T.lower()  T.upper()  T.title()  T.capitalize()  T.strip()  T.lstrip()  T.rstrip()
T.strip(T)  T.replace(T, T)  T.replace(T, T, 1)  T.join(L)  T.join([T, T])  str(A)  (T if A else T)  max(T, T)  ('%s-%r' % (A, A))
('%d%%' % N)  ('%s' % N)  T.removeprefix(T)  T.removesuffix(T)  (T % A)  T.split(T)[0]  T.rstrip(T)  T.lstrip('a')  str(N)  str(L)
max(T)  min(T, default='z')
";

const LISTS: &str = r"
[]  [1]  [1, 2, 3]  ['a', 'b']  [3, 1, 2.5, True]  state.tags  state.nums  state.o.list  [[1, 2], [1], []]  [None, 0, '']
[(2, 'b'), (1, 'a')]
";

const LIST_FORMS: &str = r"
(L + L)  L * 2  L[I:I]  L[I:I:I]  L[1:]  L[:-1]  L[::2]  [A, A]  [N, N, N]  sorted(L)  sorted(L, reverse=True)  list(T)  list(L)  T.split()  T.split(T)
T.split(T, 1)  T.splitlines()  [x for x in L]  [x for x in L if x]  [(x, y) for x in L for y in L if x != y]
[x * 2 for x in L if x is not None]  (L or L)  [x['k'] for x in state.rows]  [x.get('k', N) for x in state.rows]  T.split(None, 1)
sorted([T, T, T])  sorted([N, N, N])  [len(str(x)) for x in L]  list(tuple(L))
";

const ANY_FORMS: &str = r"
A == A  A != A  N < N  N <= N  T > T  L >= L  N == N  T == T  L < L  (A and A)  (A or A)  not A  (not A)  A in L  A not in L  T in T
T not in T  (A is None)  (A is not None)  (A is True)  (A is not False)  N < N < N  N == N != N  N < N > N <= N  A if A else A  L[0]
L[-1]  L[N]  any(L)  all(L)  min(L)  max(L)  isinstance(A, (int, str))  isinstance(A, bool)  T.startswith(T)  T.endswith((T, T))
T.isdigit()  T.isalpha()  T.isalnum()  T.isupper()  T.islower()  T.isspace()  all(x > 1 for x in L)  {'a': A, T: A}['a']
{'b': A}.get(T, A)  tuple(L)  (A, A)  A + A  A < A  state.rows[0]['k'] == A  'k' in state.rows[1]  sum(L)  dict({'a': A})  not A == A
not A in L  A if A else A if A else A  A or A and A  N + N < N * N  T in {'a', 'b', T}  float(N).is_integer()  N % A  A * A
list({'k': A}.items())  max(L, default=A)  len(A)  float(T)
";

/// Values at the edges of what operators take.
const EDGES: &str = r"
0 1 -1 3 -0.0 2.5 1e308 5e-324 float('nan') float('inf') float('-inf') 170141183460469231731687303715884105727
~170141183460469231731687303715884105727 9007199254740993 2.0**53 2.0**127 'é😀' [1,2] True None
";

fn expressions() -> Vec<String> {
    let mut chance = Chance(1);
    (0..EXPRESSIONS).map(|_| chance.anything(4)).filter(|source| source.len() < 400).collect()
}

fn python(state: &Json, expressions: &[String]) -> Vec<Json> {
    let mut child =
        Command::new("python3").args(["-W", "ignore", "-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = format!("{state}\n");
    for expression in expressions {
        writeln!(input, "{}", json!(expression)).unwrap();
    }
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ours(source: &str, state: &Map<String, Json>) -> Result<Json, String> {
    let budget = Budget::new();
    let tree = parser::parse(source).map_err(|fault| fault.to_string())?;
    let value = Evaluator::new(state, &budget).evaluate(&tree).map_err(|fault| fault.to_string())?;
    Ok(json!([value.truth(), value.to_text(&budget)?]))
}

/// Compares what is ours with what is Python's, and returns how many expressions have a value.
fn compare(state: &Json, expressions: &[String]) -> usize {
    let expected = python(state, expressions);
    assert_eq!(expected.len(), expressions.len());
    let mut different = Vec::new();
    for (source, expected) in expressions.iter().zip(&expected) {
        match ours(source, state.as_object().unwrap()) {
            // Python has integers of any length, complex numbers, and no limit to its work.
            Err(fault) if ["128 bits", "no real number", "steps that"].iter().any(|limit| fault.contains(limit)) => {}
            Err(fault) if !expected.is_null() => different.push(format!("{source}\n  python {expected}\n  ours   {fault}")),
            Ok(ours) if ours != *expected => different.push(format!("{source}\n  python {expected}\n  ours   {ours}")),
            _ => {}
        }
    }
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), expressions.len(), different[..different.len().min(40)].join("\n"));
    expected.iter().filter(|expected| !expected.is_null()).count()
}

#[test]
fn expressions_made_by_chance_are_what_python_says() {
    let state = json!({
        "n": 21, "f": 7.5, "neg": -3, "big": i64::MAX, "none": null, "t": "Order #12, é 😀", "name": "Ada", "tags": ["b", "a", "c", "a"],
        "nums": [3, 1, 2.5, -4], "o": {"k": 4, "t": "deep", "list": [1, 2, 3]}, "rows": [{"k": 1, "s": "x"}, {"k": 2.5, "s": "y"}],
    });
    let expressions = expressions();
    let good = compare(&state, &expressions);
    assert!(good * 3 > expressions.len(), "only {good} of {} expressions have a value", expressions.len());
}

#[test]
fn operands_at_the_edges_are_what_python_says() {
    let mut expressions = Vec::new();
    for left in EDGES.split_whitespace() {
        for right in EDGES.split_whitespace() {
            for sign in "+ - * / // % >> & | ^ == < in".split(' ') {
                expressions.push(format!("({left}) {sign} ({right})"));
            }
            expressions.push(format!("'abcdef'[{left}:{right}:{right}]"));
            expressions.push(format!("[1, 2, 3][{right}:{left}:{left}]"));
            // These would take Python for ever, and must only end here.
            for endless in [format!("({left}) ** ({right})"), format!("({left}) << ({right})"), format!("round({left}, {right})")] {
                let _ = ours(&endless, &Map::new());
            }
        }
    }
    assert!(compare(&json!({}), &expressions) > 800);
}
