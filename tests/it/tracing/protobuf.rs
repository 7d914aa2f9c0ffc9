//! As much of protobuf's wire format as the spans in an OTLP request take (opentelemetry-proto, `trace.proto`).

/// A field's value.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of one message, by their numbers.
struct Message<'a>(Vec<(u64, Value<'a>)>);

/// One span of those that were sent.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) name: String,
    /// 1 is internal, 2 a server's, 3 a client's.
    pub(super) kind: u64,
    pub(super) attributes: Vec<(String, String)>,
}

impl Span {
    pub(super) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// What an `ExportTraceServiceRequest` holds, and the name of the service that sent it.
pub(super) fn spans(request: &[u8]) -> (Vec<String>, Vec<Span>) {
    let (mut services, mut spans) = (Vec::new(), Vec::new());
    for of_resource in Message::read(request).messages(1) {
        for resource in of_resource.messages(1) {
            let own = resource.messages(1).map(|pair| attribute(&pair)).find(|(key, _)| key == "service.name");
            services.extend(own.map(|(_, name)| name));
        }
        for of_scope in of_resource.messages(2) {
            spans.extend(of_scope.messages(2).map(|span| Span {
                trace: hex(span.bytes(1)),
                id: hex(span.bytes(2)),
                parent: hex(span.bytes(4)),
                name: text(span.bytes(5)),
                kind: span.number(6).unwrap_or_default(),
                attributes: span.messages(9).map(|pair| attribute(&pair)).collect(),
            }));
        }
    }
    (services, spans)
}

fn attribute(pair: &Message<'_>) -> (String, String) {
    let value = pair.messages(2).next().expect("a value");
    let value = value.number(3).map_or_else(|| text(value.bytes(1)), |number| number.to_string());
    (text(pair.bytes(1)), value)
}

impl<'a> Message<'a> {
    fn read(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Value::Number(varint(&mut bytes)),
                1 => Value::Bytes(bytes.split_off(..8).expect("8 bytes")),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).expect("a length");
                    Value::Bytes(bytes.split_off(..length).expect("as many bytes"))
                }
                5 => Value::Bytes(bytes.split_off(..4).expect("4 bytes")),
                other => panic!("no wire type: {other}"),
            };
            fields.push((key >> 3, value));
        }
        Self(fields)
    }

    fn all(&self, number: u64) -> impl Iterator<Item = &Value<'a>> {
        self.0.iter().filter(move |(own, _)| *own == number).map(|(_, value)| value)
    }

    fn messages(&self, number: u64) -> impl Iterator<Item = Message<'a>> {
        self.all(number).filter_map(|value| match value {
            Value::Bytes(bytes) => Some(Message::read(bytes)),
            Value::Number(_) => None,
        })
    }

    fn bytes(&self, number: u64) -> &'a [u8] {
        let mut found = self.all(number).filter_map(|value| match value {
            Value::Bytes(bytes) => Some(*bytes),
            Value::Number(_) => None,
        });
        found.next().unwrap_or_default()
    }

    fn number(&self, number: u64) -> Option<u64> {
        self.all(number).find_map(|value| match value {
            Value::Number(number) => Some(*number),
            Value::Bytes(_) => None,
        })
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = *bytes.split_off_first().expect("a byte");
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn reads_what_the_specification_shows() {
    // protobuf.dev, "Encoding": `150` as field 1; "testing" as field 2.
    let message = Message::read(b"\x08\x96\x01\x12\x07testing");
    assert_eq!((message.number(1), message.bytes(2)), (Some(150), b"testing".as_slice()));
}
