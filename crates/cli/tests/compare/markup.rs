//! Whether text is well-formed XML, as far as our pages go: every element is closed, in the right order, and attributes are quoted.

/// What is wrong first, if anything is.
pub(crate) fn complaint(page: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap_or(page);
    while let Some(start) = rest.find('<') {
        if rest[..start].contains("&") && !entities_are_known(&rest[..start]) {
            return Some(format!("a bare & in {:?}", &rest[..start]));
        }
        let Some(end) = rest[start..].find('>') else { return Some("an element without end".into()) };
        let tag = &rest[start + 1..start + end];
        rest = &rest[start + end + 1..];
        if !tag.matches('"').count().is_multiple_of(2) {
            return Some(format!("a quotation mark too many or too few in <{tag}>"));
        }
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap_or_default();
        if tag.starts_with('/') {
            match open.pop() {
                Some(last) if last == name => {}
                last => return Some(format!("</{name}> where {last:?} is open")),
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    open.last().map(|name| format!("<{name}> is never closed"))
}

fn entities_are_known(text: &str) -> bool {
    let mut parts = text.split('&');
    parts.next();
    parts.all(|part| ["amp;", "lt;", "gt;", "quot;"].iter().any(|known| part.starts_with(known)))
}

#[test]
fn the_checker_finds_what_it_should() {
    assert_eq!(complaint("<!DOCTYPE html><a b=\"c\"><d/>e &amp; f</a>"), None);
    for wrong in ["<a>", "<a><b></a></b>", "<a b=\"></a>", "<a>x & y</a>", "</a>"] {
        assert!(complaint(wrong).is_some(), "{wrong}");
    }
}
