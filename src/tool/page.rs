//! HTML as text that a model can read, within bounds: a page is written by strangers.

use std::io::{self, Read};
use std::time::Duration;

use html2text::config::{self, Config};
use html2text::render::PlainDecorator;
use html2text::{Element, Handle, RcDom};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Failure;

/// How many columns a line of text has at most.
const WIDTH: usize = 120;

/// How many elements may stand inside each other; what is deeper is left out.
const DEPTH: usize = 128;

/// How many tables may stand inside each other; what is deeper is left out.
const TABLE_DEPTH: usize = 4;

/// The most elements and pieces of text of a page.
const PARTS: usize = 200_000;

/// The most cells of all tables of a page, were every row as wide as the widest; the renderer keeps the width of each.
const CELLS: usize = 2_000_000;

/// The most characters of a title.
const TITLE_CHARS: usize = 1_000;

/// How long one page may take.
const TIME: Duration = Duration::from_secs(10);

/// How many bytes are parsed between two looks at the clock.
const STRETCH: usize = 4 << 10;

/// How many pages are read at once, each on a thread of its own. A thread cannot be stopped, so there are few.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// What is read of a page.
pub(super) struct Page {
    /// The title, on one line.
    pub(super) title: Option<String>,
    /// The text, with links as numbers and their addresses at the end.
    pub(super) text: String,
}

/// Reads a page aside from the threads that serve requests.
pub(super) async fn read(html: String, deadline: Instant) -> Result<Page, Failure> {
    let deadline = deadline.min(Instant::now() + TIME);
    let late = || Failure::new("the page takes too long to read");
    let turn = timeout_at(deadline, AT_ONCE.acquire()).await.map_err(|_| late())?;
    let Ok(turn) = turn else { return Err(late()) };
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        page(&html, deadline)
    });
    let read = timeout_at(deadline, reading).await.map_err(|_| late())?;
    read.unwrap_or_else(|_| Err(Failure::new("the page cannot be read")))
}

fn page(html: &str, deadline: Instant) -> Result<Page, Failure> {
    let unreadable = |_| Failure::new("the page cannot be read: it takes too long, or it is no HTML");
    let settings = config();
    let dom = settings.parse_html(Stretches { rest: html.as_bytes(), deadline }).map_err(unreadable)?;
    prune(&dom)?;
    let title = title(&dom);
    let tree = settings.dom_to_render_tree(&dom).map_err(unreadable)?;
    let text = settings.render_to_string(tree, WIDTH).map_err(unreadable)?;
    Ok(Page { title, text: text.trim().to_owned() })
}

fn config() -> Config<PlainDecorator> {
    config::plain().allow_width_overflow().no_table_borders().no_link_wrapping()
}

/// Takes out what stands too deep: the renderer calls itself for every level, and a stack that overflows ends the process.
fn prune(dom: &RcDom) -> Result<(), Failure> {
    let too_much = |what: String| Failure::new(format!("the page has {what}, which is too much to read"));
    let (mut parts, mut rows, mut widest_row) = (0, 0, 0);
    let mut open: Vec<(Handle, usize, usize)> = vec![(dom.document.clone(), 0, 0)];
    while let Some((part, depth, tables)) = open.pop() {
        let name = part.element_name().unwrap_or_default();
        let tables = tables + usize::from(name == "table");
        remove_spans(&part);
        let mut children = part.children.borrow_mut();
        if depth >= DEPTH || tables > TABLE_DEPTH {
            children.clear();
        }
        if name == "tr" {
            rows += 1;
            widest_row = widest_row.max(children.len());
        }
        parts += 1;
        if parts > PARTS {
            return Err(too_much(format!("more than {PARTS} parts")));
        }
        if rows * widest_row > CELLS {
            return Err(too_much(format!("tables of more than {CELLS} cells")));
        }
        open.extend(children.iter().map(|child| (child.clone(), depth + 1, tables)));
    }
    Ok(())
}

/// Makes every cell of a table a single one: the renderer fills what a cell spans with cells of its own, however many a page names.
fn remove_spans(part: &Handle) {
    if let Element { attrs, .. } = &part.data {
        attrs.borrow_mut().retain(|attribute| !matches!(&*attribute.name.local, "rowspan" | "colspan"));
    }
}

/// Finds the title, which the renderer leaves out. Its text is rendered by itself.
fn title(dom: &RcDom) -> Option<String> {
    let child = |part: &Handle, name| part.children.borrow().iter().find(|child| child.element_name().as_deref() == Some(name)).cloned();
    let title = child(&child(&child(&dom.document, "html")?, "head")?, "title")?;
    let text = title.children.borrow().first()?.clone();
    let alone = RcDom::default();
    alone.document.children.borrow_mut().push(text);
    let text = config().render_to_string(config().dom_to_render_tree(&alone).ok()?, WIDTH).ok()?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(line.chars().take(TITLE_CHARS).collect()).filter(|line: &String| !line.is_empty())
}

/// A text that is read in short stretches and ends with an error when its time is over.
struct Stretches<'a> {
    rest: &'a [u8],
    deadline: Instant,
}

impl Read for Stretches<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() > self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let length = buffer.len().min(STRETCH);
        self.rest.read(&mut buffer[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(html: impl Into<String>) -> Result<Page, Failure> {
        super::read(html.into(), Instant::now() + Duration::from_mins(1)).await
    }

    #[tokio::test]
    async fn a_page_is_text_with_links_and_a_title() {
        let page = read(
            "<!doctype html><html><head><title>\n Tides &amp; moons</title><style>p{}</style><script>alert(1)</script></head><body>\
             <h1>High</h1><p>See <a href='/table'>the table</a>.</p><ul><li>one</li></ul><table><tr><td>a</td><td>b</td></tr></table></body>",
        );
        let page = page.await.unwrap();
        assert_eq!(page.title.as_deref(), Some("Tides & moons"));
        assert_eq!(page.text, "# High\n\nSee [the table][1].\n* one\n\na b\n\n[1]: /table");
    }

    #[tokio::test]
    async fn no_page_overflows_the_stack() {
        for tag in ["div", "b", "p", "ul><li", "table><tr><td", "blockquote", "a href=x", "svg", "template", "sup"] {
            let page = read(format!("<p>first</p>{}deep", format!("<{tag}>").repeat(5_000))).await.unwrap();
            assert!(page.text.starts_with("first"), "{tag}: {}", page.text);
        }
    }

    /// The parser looks through all open elements for every new one, so that a small page may keep it busy for minutes.
    #[tokio::test]
    async fn a_page_that_takes_too_long_is_given_up_and_frees_its_thread() {
        let nested = "<div>".repeat(200_000);
        for _ in 0..4 {
            let begun = Instant::now();
            let late = super::read(nested.clone(), begun + Duration::from_millis(200)).await.err().unwrap();
            assert!(late.0.contains("too long"), "{late}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
        assert_eq!(read("<p>next").await.unwrap().text, "next");
    }

    #[tokio::test]
    async fn a_page_with_too_many_parts_is_refused() {
        let refused = read("<i>x</i>".repeat(PARTS)).await.err().unwrap();
        assert!(refused.0.contains("too much to read"), "{refused}");
    }

    #[tokio::test]
    async fn a_cell_that_spans_much_takes_no_more_than_others() {
        let cells: Vec<_> = (2..20_002).map(|span| format!("<td rowspan={span} colspan={span}>x")).collect();
        let page = read(format!("<table><tr>{}</table><p>after", cells.concat())).await.unwrap();
        assert!(page.text.ends_with("after"), "{}", page.text.len());
    }

    #[tokio::test]
    async fn a_table_of_many_wide_rows_is_refused() {
        let refused = read(format!("<table>{}<tr>{}</table>", "<tr>".repeat(90_000), "<td>".repeat(90_000))).await.err().unwrap();
        assert!(refused.0.contains("cells"), "{refused}");
        let long = read(format!("<table>{}</table>", "<tr><td>a<td>b".repeat(10_000))).await.unwrap();
        assert!(long.text.starts_with("a b\na b"), "{}", &long.text[..20]);
    }

    #[tokio::test]
    async fn a_title_is_a_short_text_whatever_stands_in_it() {
        let markup = read(format!("<title>{}</title><p>text", "<div>".repeat(100_000))).await.unwrap();
        assert_eq!(markup.title.unwrap().chars().count(), TITLE_CHARS);
        assert_eq!(markup.text, "text");
        assert_eq!(read("<title> </title><svg><title>drawn</title></svg>").await.unwrap().title, None);
    }
}
