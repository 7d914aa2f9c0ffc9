//! Traces, sent to a collector by OTLP over HTTP (feature `otlp`).
//!
//! What is sent, and where, is said by the environment that OpenTelemetry has for it: nothing is unless
//! `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set. `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`,
//! `OTEL_BSP_*` and the other `OTEL_EXPORTER_OTLP_*` count as everywhere; of the protocols only `http/protobuf` is spoken.
//!
//! A span has the path of a request at most: never its query, and of its headers nothing. The library's own log lines
//! are left out of the build, as they would repeat what a collector answers.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind as Kind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::span_kind::SpanKind;
use super::trace_parent::TraceParent;
use super::traces_error::TracesError;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
/// What OpenTelemetry says where nobody else does.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// What a collector answers is a few bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How long the end of the process may wait for the last spans.
const FLUSH: Duration = Duration::from_secs(5);
/// The bit of the flags that the sampler has no say in (W3C Trace Context, level 2: random-trace-id).
const RANDOM: u8 = 0b10;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What sends the spans.
#[derive(Debug)]
pub(super) struct Sending(SdkTracerProvider);

impl Sending {
    /// Starts to record and send, if the environment says so.
    pub(super) fn start() -> Result<Option<Self>, TracesError> {
        let Some(endpoint) = said(&ENDPOINTS).filter(|_| !is_off()) else { return Ok(None) };
        if let Some(protocol) = said(&PROTOCOLS).filter(|protocol| protocol != "http/protobuf") {
            return Err(TracesError::Protocol(protocol));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| TracesError::Setting(error.into()))?;
        let provider = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
        // A second one in a process would find the first one's in place.
        let _ = TRACER.set(provider.tracer(env!("CARGO_PKG_NAME")));
        let host = endpoint.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        tracing::info!(collector = host, "sending traces");
        Ok(Some(Self(provider)))
    }

    /// Sends what has not been yet.
    pub(super) async fn finish(self) {
        // It blocks; what it waits for needs the runtime.
        let finished = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH)).await;
        if !matches!(finished, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

fn said(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

fn is_off() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|said| said.eq_ignore_ascii_case(value));
    is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none")
}

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let name = Key::new("service.name");
    let found = Resource::builder().build();
    let is_named = found.get(&name).is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder().with_attribute(version);
    if is_named { builder.build() } else { builder.with_service_name(env!("CARGO_PKG_NAME")).build() }
}

/// Sends what is exported, with the client and the TLS that the rest of the program has.
///
/// The exporter's thread is none of the runtime's, so each request is a task there.
struct Sender {
    runtime: Handle,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    patience: Duration,
    /// Whether the last one failed: a collector that is down is told of once.
    fails: AtomicBool,
}

impl Sender {
    fn new() -> Result<Self, TracesError> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| TracesError::Setting(error.into()))?;
        let connector = tls.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let millis = said(&TIMEOUTS).and_then(|millis| millis.parse().ok());
        let patience = millis.map_or(DEFAULT_TIMEOUT, Duration::from_millis);
        Ok(Self { runtime: Handle::current(), client, patience, fails: AtomicBool::new(false) })
    }

    /// Tells when it begins to fail, and when that is over.
    fn tell(&self, trouble: Option<String>) {
        let failed = self.fails.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(error) if !failed => tracing::warn!(error, "traces cannot be sent to the collector"),
            None if failed => tracing::info!("traces are sent to the collector again"),
            _ => {}
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl HttpClient for Sender {
    // As the trait's macro writes it.
    fn send_bytes<'this, 'future>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'this: 'future,
        Self: 'future,
    {
        let (client, patience) = (self.client.clone(), self.patience);
        let exchange = async move {
            let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        // Inside the task, as timers are the runtime's.
        let running = self.runtime.spawn(async move { timeout(patience, exchange).await });
        Box::pin(async move {
            let answer = match running.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(slow)) => Err(slow.into()),
                Err(gone) => Err(gone.into()),
            };
            self.tell(match &answer {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("it answers {}", answer.status())),
                Err(error) => Some(error.to_string()),
            });
            answer
        })
    }
}

/// A span that is on its way, until this is dropped.
#[derive(Debug)]
pub(super) struct Recording {
    span: Span,
    place: TraceParent,
}

impl Recording {
    /// A client's request, in the trace of `parent` or in one of its own.
    pub(super) fn of_request(method: &Method, parent: Option<TraceParent>) -> Option<Self> {
        let name = known(method);
        let mut recording = Self::begin(Kind::Server, name.into(), parent.map(|parent| (parent, true)))?;
        recording.note("http.request.method", name.to_owned());
        Some(recording)
    }

    /// Part of the work for a request.
    pub(super) fn child(kind: SpanKind, name: &'static str, parent: TraceParent) -> Option<Self> {
        let kind = match kind {
            SpanKind::Client => Kind::Client,
            SpanKind::Internal => Kind::Internal,
        };
        Self::begin(kind, name.into(), Some((parent, false)))
    }

    fn begin(kind: Kind, name: Cow<'static, str>, parent: Option<(TraceParent, bool)>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let around = parent.map_or_else(Context::new, |(parent, is_remote)| {
            let TraceParent { trace, span, flags } = parent;
            let (trace, span) = (TraceId::from(trace.get()), SpanId::from(span.get()));
            let state = TraceState::default();
            let parent = SpanContext::new(trace, span, TraceFlags::new(flags), is_remote, state);
            Context::new().with_remote_span_context(parent)
        });
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &around);
        let found = span.span_context();
        let random = parent.map_or(0, |(parent, _)| parent.flags & RANDOM);
        // There is none after the end.
        let place = TraceParent {
            trace: NonZeroU128::new(u128::from_be_bytes(found.trace_id().to_bytes()))?,
            span: NonZeroU64::new(u64::from_be_bytes(found.span_id().to_bytes()))?,
            flags: u8::from(found.is_sampled()) | random,
        };
        Some(Self { span, place })
    }

    pub(super) fn place(&self) -> TraceParent {
        self.place
    }

    pub(super) fn rename(&mut self, name: String) {
        self.span.update_name(name);
    }

    pub(super) fn note(&mut self, key: &'static str, value: String) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    pub(super) fn count(&mut self, key: &'static str, value: u64) {
        self.span.set_attribute(KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX)));
    }

    pub(super) fn fail(&mut self, why: String) {
        self.note("error.type", why);
        self.span.set_status(Status::error(""));
    }
}

/// By the semantic conventions: one that nobody knows could be any text.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "_OTHER",
    }
}
