//! The posts and queries of `judged.txt`, which says itself how it is written.

/// A post.
#[derive(Default)]
pub(crate) struct Post {
    pub(crate) group: usize,
    pub(crate) name: char,
    pub(crate) text: String,
    pub(crate) alt: Option<String>,
    pub(crate) card: Option<(String, String)>,
    pub(crate) tags: Vec<String>,
    pub(crate) links: Vec<String>,
    pub(crate) mentions: Vec<String>,
    pub(crate) likes: u64,
    pub(crate) days: Option<u64>,
}

/// What somebody types, and which posts are how good an answer.
pub(crate) struct Query {
    pub(crate) language: String,
    pub(crate) text: String,
    /// Places of posts, and from 1 to 3.
    pub(crate) grades: Vec<(usize, u32)>,
}

/// All of it.
pub(crate) struct Judged {
    pub(crate) posts: Vec<Post>,
    pub(crate) queries: Vec<Query>,
}

pub(crate) fn read(file: &str) -> Judged {
    let mut judged = Judged { posts: Vec::new(), queries: Vec::new() };
    let (mut language, mut group) = (String::new(), 0);
    for line in file.lines() {
        if line.trim().is_empty() {
            group += 1;
        } else if let Some(name) = line.strip_prefix("== ") {
            language = name.to_owned();
        } else if let Some(query) = line.strip_prefix("? ") {
            let (text, grades) = query.rsplit_once(" =").expect(line);
            let grades = grades.split_whitespace().map(|grade| {
                let name = grade.chars().next().expect(line);
                let is_it = |post: &Post| post.group == group && post.name == name;
                let place = judged.posts.iter().position(is_it).expect(line);
                (place, grade[1..].parse().expect(line))
            });
            let grades = grades.collect();
            let (language, text) = (language.clone(), unescaped(text));
            judged.queries.push(Query { language, text, grades });
        } else if !line.starts_with("//") {
            judged.posts.push(post(line, group));
        }
    }
    judged
}

fn post(line: &str, group: usize) -> Post {
    let (name, rest) = line.split_once("| ").expect(line);
    let line = unescaped(rest);
    let mut parts = line.split(" {");
    let text = parts.next().expect("a text").to_owned();
    let name = name.chars().next().expect("a name");
    let mut post = Post { group, name, text, ..Post::default() };
    for part in parts {
        let part = part.strip_suffix('}').expect(&line);
        let (kind, value) = part.split_once(": ").expect(&line);
        let value = value.to_owned();
        match kind {
            "alt" => post.alt = Some(value),
            "card" => {
                let (title, description) = value.split_once(" / ").expect(&line);
                post.card = Some((title.to_owned(), description.to_owned()));
            }
            "tag" => post.tags.push(value),
            "link" => post.links.push(value),
            "mention" => post.mentions.push(value),
            "likes" => post.likes = value.parse().expect(&line),
            "days" => post.days = Some(value.parse().expect(&line)),
            _ => panic!("{kind} of {line}"),
        }
    }
    post
}

/// With characters in place of their numbers.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').expect(text);
        out.push(u32::from_str_radix(code, 16).ok().and_then(char::from_u32).expect(text));
        out.push_str(rest);
    }
    out
}

impl Post {
    /// Everything in it that somebody could see, as a search for parts of texts would look at it.
    pub(crate) fn visible(&self) -> String {
        let (title, description) = self.card.clone().unwrap_or_default();
        let alt = self.alt.clone().unwrap_or_default();
        let all = [&[self.text.clone(), alt, title, description], &self.tags[..]].concat();
        all.join(" ").to_lowercase()
    }
}
