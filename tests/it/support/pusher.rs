//! A client that writes to one repository, step by step, and says what was not as the distribution spec has it.

use std::time::Duration;

use bytes::Bytes;
use colocate::oci::Digest;

use super::access::Access;
use super::http::{ACCEPT, Answer, Method};
use super::raw::Raw;

/// `Ok`, or what went another way than it should have.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The type that blobs are sent with. Without one, some registries take a body for a form and read it away.
pub(crate) const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

/// One client of one repository.
#[derive(Clone)]
pub(crate) struct Pusher {
    access: Access,
    registry: String,
    repository: String,
}

impl Pusher {
    /// By a client with this access.
    pub(crate) fn new(access: &Access, registry: &str, repository: &str) -> Self {
        Self { access: access.clone(), registry: registry.to_owned(), repository: repository.to_owned() }
    }

    /// By a client that shows nothing.
    pub(crate) fn anonymous(registry: &str, repository: &str) -> Self {
        Self::new(&Access::anonymous(), registry, repository)
    }

    /// The repository's name.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// The same client at another repository, whose name begins with this one's.
    pub(crate) fn beside(&self, ending: &str) -> Self {
        Self { repository: format!("{}-{ending}", self.repository), ..self.clone() }
    }

    /// Where a path is: below the repository, or, with a slash in front, below the registry.
    pub(crate) fn url(&self, path: &str) -> String {
        match path.strip_prefix('/') {
            Some(path) => format!("{}/{path}", self.registry),
            None => format!("{}/v2/{}/{path}", self.registry, self.repository),
        }
    }

    /// The registry's `host:port`.
    pub(crate) fn authority(&self) -> &str {
        self.registry.split_once("://").map_or(&self.registry, |(_, authority)| authority)
    }

    /// Asks for something at [`Pusher::url`] of a path.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Outcome<Answer> {
        let url = self.url(path);
        let what = format!("{method} {path}");
        let answer =
            self.access.try_send(method, &url, headers, body).await.map_err(|error| format!("{what}: {error}"))?;
        match &answer.broken {
            Some(broken) => Err(format!("{what}: the answer broke: {broken}")),
            None => Ok(answer),
        }
    }

    /// GET of something below the repository, of any manifest type.
    pub(crate) async fn get(&self, path: &str) -> Outcome<Answer> {
        self.ask(Method::GET, path, &[("accept", ACCEPT)], "").await
    }

    /// HEAD of the same.
    pub(crate) async fn head(&self, path: &str) -> Outcome<Answer> {
        self.ask(Method::HEAD, path, &[("accept", ACCEPT)], "").await
    }

    /// DELETE of the same.
    pub(crate) async fn delete(&self, path: &str) -> Outcome<Answer> {
        self.ask(Method::DELETE, path, &[], "").await
    }

    /// What is asked for next to get to where an answer sends: a path of this registry, whole or not.
    pub(crate) fn location(&self, answer: &Answer) -> Outcome<String> {
        let location = answer.header("location").ok_or_else(|| format!("no Location: {answer:?}"))?;
        let path = location.strip_prefix(&self.registry).unwrap_or(location);
        if path.starts_with("/v2/") { Ok(path.to_owned()) } else { Err(format!("a Location elsewhere: {location}")) }
    }

    /// Begins an upload; gives where it goes on.
    pub(crate) async fn begin(&self) -> Outcome<String> {
        let answer = self.ask(Method::POST, "blobs/uploads/", &[], "").await?;
        self.location(&wanted("POST of an upload", answer, &[202])?)
    }

    /// How many bytes an upload has by its own word, and where it goes on.
    pub(crate) async fn progress(&self, location: &str) -> Outcome<(usize, String)> {
        let answer = wanted("GET of an upload", self.get(location).await?, &[204])?;
        let range = answer.header("range").ok_or("no Range")?;
        let last = range.strip_prefix("0-").and_then(|last| last.parse::<usize>().ok());
        let last = last.ok_or_else(|| format!("Range: {range}"))?;
        // Registries say "0-0" of an upload without bytes, there being no way to say it right.
        Ok((if last == 0 { 0 } else { last + 1 }, self.location(&answer)?))
    }

    /// Begins to send the bytes of an upload, and cuts the connection when so many are on their way; then waits until
    /// the registry can tell how many it has. Gives that, and where the upload goes on.
    pub(crate) async fn interrupted(
        &self,
        location: &str,
        from: usize,
        bytes: &[u8],
        cut: usize,
    ) -> Outcome<(usize, String)> {
        let (length, range) = (bytes.len().to_string(), format!("{from}-{}", from + bytes.len() - 1));
        let mut raw = Raw::open(self.authority()).await;
        raw.head("PATCH", location, &[OCTETS, ("content-length", &length), ("content-range", &range)]).await;
        raw.say(&bytes[..cut]).await;
        // So that some of it has arrived.
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(raw);
        // A server notices in its own time that a client has gone, and then what it has is all there will be.
        let (mut before, mut tries) = (None, 0);
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tries += 1;
            match self.progress(location).await {
                Ok((bytes, _)) if bytes > from + cut => return Err(format!("{bytes} bytes, which were never sent")),
                Ok((bytes, location)) if before == Some(bytes) => return Ok((bytes, location)),
                Ok((bytes, _)) => before = Some(bytes),
                Err(error) if tries == 10 => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Sends a chunk with its place; the answer is as it came.
    pub(crate) async fn chunk(&self, location: &str, from: usize, bytes: &[u8]) -> Outcome<Answer> {
        let range = format!("{from}-{}", from + bytes.len() - 1);
        let headers = [OCTETS, ("content-range", range.as_str())];
        self.ask(Method::PATCH, location, &headers, bytes.to_vec()).await
    }

    /// Ends an upload, with these last bytes; the answer is as it came.
    pub(crate) async fn end(&self, location: &str, digest: &str, bytes: &[u8]) -> Outcome<Answer> {
        self.ask(Method::PUT, &with_digest(location, digest), &[OCTETS], bytes.to_vec()).await
    }

    /// Puts a blob into the repository by POST and PUT.
    pub(crate) async fn blob(&self, bytes: &[u8]) -> Outcome<Digest> {
        let digest = Digest::of(bytes);
        let location = self.begin().await?;
        let answer = self.end(&location, &digest.to_string(), bytes).await?;
        wanted("PUT of a blob", answer, &[201])?;
        Ok(digest)
    }

    /// Puts a manifest under a tag or digest; the answer is as it came.
    pub(crate) async fn put(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Outcome<Answer> {
        let headers = [("content-type", media_type)];
        self.ask(Method::PUT, &format!("manifests/{reference}"), &headers, bytes.to_vec()).await
    }

    /// Puts a manifest under a tag or digest, which has to be taken; gives its digest.
    pub(crate) async fn manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Outcome<Digest> {
        let answer = self.put(reference, media_type, bytes).await?;
        wanted(&format!("PUT of manifest {reference}"), answer, &[201])?;
        Ok(Digest::of(bytes))
    }

    /// Insists that something is there with just these bytes, for GET and for HEAD.
    pub(crate) async fn holds(&self, path: &str, bytes: &[u8]) -> Outcome {
        let answer = wanted(&format!("GET {path}"), self.get(path).await?, &[200])?;
        if answer.body != bytes {
            return Err(format!("GET {path}: {} bytes that differ from the {} sent", answer.body.len(), bytes.len()));
        }
        let answer = wanted(&format!("HEAD {path}"), self.head(path).await?, &[200])?;
        same(&format!("the length in HEAD {path}"), answer.header("content-length"), Some(&*bytes.len().to_string()))
    }

    /// Insists that something is not there.
    pub(crate) async fn lacks(&self, path: &str) -> Outcome {
        wanted(&format!("GET {path}"), self.get(path).await?, &[404])?;
        wanted(&format!("HEAD {path}"), self.head(path).await?, &[404]).map(drop)
    }
}

/// An upload's location with the digest it is to have.
pub(crate) fn with_digest(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

/// Insists on one of these statuses.
pub(crate) fn wanted(what: &str, answer: Answer, statuses: &[u16]) -> Outcome<Answer> {
    if statuses.contains(&answer.status.as_u16()) {
        return Ok(answer);
    }
    let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
    Err(format!("{what}: {} and not {statuses:?}: {}", answer.status.as_u16(), body.trim()))
}

/// Insists on one of these statuses, and on an error document with one of these codes.
pub(crate) fn refused(what: &str, answer: Answer, statuses: &[u16], codes: &[&str]) -> Outcome {
    let answer = wanted(what, answer, statuses)?;
    match answer.error_code() {
        Some(code) if codes.contains(&&*code) => Ok(()),
        code => Err(format!("{what}: code {code:?} and not one of {codes:?}")),
    }
}

/// Insists that two things are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} and not {expected:?}")) }
}
