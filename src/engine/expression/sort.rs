//! Sorting with a comparison that can fail, which the standard library's sort does not take.

/// Sorts by merging, so that equal items keep their order. `before` tells whether its first item must stand before its second.
pub(super) fn sorted<T>(mut items: Vec<T>, before: &impl Fn(&T, &T) -> Result<bool, String>) -> Result<Vec<T>, String> {
    if items.len() < 2 {
        return Ok(items);
    }
    let right = items.split_off(items.len() / 2);
    merge(sorted(items, before)?, sorted(right, before)?, before)
}

fn merge<T>(left: Vec<T>, right: Vec<T>, before: &impl Fn(&T, &T) -> Result<bool, String>) -> Result<Vec<T>, String> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut right = right.into_iter().peekable();
    for item in left {
        while let Some(other) = right.peek() {
            if !before(other, &item)? {
                break;
            }
            merged.extend(right.next());
        }
        merged.push(item);
    }
    merged.extend(right);
    Ok(merged)
}
