//! Tests of refused pushes, and of pulls and pushes over Arrow Flight.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::Any;
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use futures::stream;
use prost::Message;
use tonic::Code;
use tusk_core::mode::{asynchronous, hogwild};
use tusk_core::protocol::WIRE_VERSION;
use tusk_core::protocol::parameters::{
    PIECE_BYTES_MAX, PULL_TYPE_URL, PUSH_TYPE_URL, Piece, Pull, Pulled, PulledWeights, Push, Pushed, SessionKey,
};
use tusk_core::state::NamedTensor;

use super::ParameterStores;
use super::incoming::Incoming;
use super::server::ParameterServer;
use super::tests::{pull, push, run, settings, start, started, tensor};

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn first_piece(name: &str, shape: &[usize]) -> Piece {
    Piece { name: name.to_owned(), piece: 0, shape: Some(shape.to_vec()) }
}

#[test]
fn a_push_whose_tensors_differ_from_the_models_is_refused() {
    let store = started(asynchronous::MODE);
    let refused = |push: &Push, pieces: &[(Piece, Vec<u8>)]| {
        let outcome = Incoming::new(&store, push).and_then(|mut incoming| {
            pieces.iter().try_for_each(|(piece, bytes)| incoming.piece(piece.clone(), bytes))?;
            incoming.finish()
        });
        outcome.unwrap_err().to_string()
    };
    let update = push(0, 10, 1, 0);
    let whole = || (first_piece("w", &[2]), bytes(&[1.0, 2.0]));
    for (pieces, reason) in [
        (vec![whole()], "1 of 2 tensors were received"),
        (vec![whole(), whole()], "tensor w is repeated or unexpected"),
        (vec![(first_piece("v", &[2]), bytes(&[1.0, 2.0]))], "the model has no tensor v"),
        (vec![(first_piece("w", &[3]), bytes(&[1.0]))], "w is [3] and should be [2]"),
        (vec![(first_piece("w", &[2]), bytes(&[1.0, 2.0, 3.0]))], "wrong number of values: w has shape [2]"),
        (vec![(first_piece("w", &[2]), Vec::new())], "wrong number of values: w has shape [2]"),
        (vec![(first_piece("w", &[2]), vec![0; 3])], "a piece has 3 bytes"),
        (vec![(first_piece("w", &[2]), vec![0; PIECE_BYTES_MAX + 4])], "up to 4194304"),
        (vec![(Piece { piece: 1, ..first_piece("w", &[2]) }, bytes(&[1.0]))], "piece 1 of w is out of order"),
        (vec![(Piece { shape: None, ..first_piece("w", &[2]) }, bytes(&[1.0]))], "piece 0 of w is out of order"),
        (vec![(first_piece("w", &[2]), bytes(&[f32::NAN, 2.0]))], "value 0 of w is NaN; lower the learning rate"),
        (vec![(first_piece("w", &[2]), bytes(&[1.0, f32::INFINITY]))], "value 1 of w is inf"),
        (vec![(first_piece("bn.running_var", &[1]), bytes(&[-0.5]))], "value 0 of bn.running_var is -0.5"),
    ] {
        let refusal = refused(&update, &pieces);
        assert!(refusal.contains(reason), "{refusal} does not say {reason}");
    }
    for (tensors, reason) in [(0, "it has 0 tensors"), (1 << 20, "it has 1048576 tensors"), (3, "the model has 2")] {
        let refusal = refused(&Push { tensors, ..update.clone() }, &[]);
        assert!(refusal.contains(reason), "{refusal} does not say {reason}");
    }
    for shape in [vec![usize::MAX, 2], vec![1 << 40]] {
        let refusal = refused(&Push { tensors: 1, ..start(0, 10) }, &[(first_piece("huge", &shape), bytes(&[1.0]))]);
        assert!(refusal.contains("is larger than"), "{refusal}");
    }
}

async fn client(server: &ParameterServer) -> Client {
    let channel = tonic::transport::Endpoint::from_shared(server.url()).unwrap().connect().await.unwrap();
    FlightServiceClient::new(channel).max_decoding_message_size(8 << 20)
}

type Client = FlightServiceClient<tonic::transport::Channel>;

async fn flight_pull(client: &mut Client, pull: &Pull) -> Result<(Pulled, Vec<FlightData>), tonic::Status> {
    let value = serde_json::to_vec(pull).unwrap().into();
    let ticket = Any { type_url: PULL_TYPE_URL.to_owned(), value }.encode_to_vec();
    let mut messages = client.do_get(Ticket { ticket: ticket.into() }).await?.into_inner();
    let first = messages.message().await?.unwrap();
    let mut rest = Vec::new();
    while let Some(message) = messages.message().await? {
        rest.push(message);
    }
    Ok((serde_json::from_slice(&first.app_metadata).unwrap(), rest))
}

fn push_messages(push: &Push, tensors: &[NamedTensor]) -> Vec<FlightData> {
    let value = serde_json::to_vec(push).unwrap().into();
    let cmd = Any { type_url: PUSH_TYPE_URL.to_owned(), value }.encode_to_vec().into();
    let flight_descriptor = Some(FlightDescriptor { r#type: 2, cmd, path: Vec::new() });
    let mut messages = vec![FlightData { flight_descriptor, ..FlightData::default() }];
    for tensor in tensors {
        for (piece, values) in tensor.data.chunks(PIECE_BYTES_MAX / 4).enumerate() {
            let shape = (piece == 0).then(|| tensor.shape.clone());
            let header = Piece { name: tensor.name.clone(), piece: piece as u32, shape };
            messages.push(FlightData {
                app_metadata: serde_json::to_vec(&header).unwrap().into(),
                data_body: bytes(values).into(),
                ..FlightData::default()
            });
        }
    }
    messages
}

async fn flight_push(client: &mut Client, messages: Vec<FlightData>) -> Result<Pushed, tonic::Status> {
    let mut responses = client.do_put(stream::iter(messages)).await?.into_inner();
    Ok(serde_json::from_slice(&responses.message().await?.unwrap().app_metadata).unwrap())
}

#[tokio::test]
async fn a_tensor_larger_than_a_message_is_pushed_and_pulled() {
    let service = ParameterStores::default();
    let exchange = service.open(&run(), settings(asynchronous::MODE, 3, &[1]));
    let server = ParameterServer::start(service.clone()).await.unwrap();
    let mut client = client(&server).await;
    let (pulled, rest) = flight_pull(&mut client, &pull(0, None, None)).await.unwrap();
    assert_eq!((pulled.weights, rest.len()), (PulledWeights::Missing, 0));
    let attempt = pulled.attempt;
    let large: Vec<f32> = (0..PIECE_BYTES_MAX / 4 + 3).map(|i| i as f32).collect();
    let first = Push { tensors: 1, ..start(0, attempt) };
    let pushed = flight_push(&mut client, push_messages(&first, &[tensor("w", &large)])).await.unwrap();
    assert!(pushed.applied);
    let ones = tensor("w", &vec![1.0; large.len()]);
    let update = Push { tensors: 1, ..push(0, attempt, 1, 0) };
    for applied in [true, false] {
        let messages = push_messages(&update, std::slice::from_ref(&ones));
        let pushed = flight_push(&mut client, messages).await.unwrap();
        assert_eq!((pushed.applied, pushed.version, pushed.step), (applied, 1, 1));
    }
    let (pulled, pieces) = flight_pull(&mut client, &pull(0, Some(attempt), Some(0))).await.unwrap();
    assert_eq!((pulled.version, pulled.weights, pieces.len()), (1, PulledWeights::Follow(1), 2));
    let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.data_body.to_vec()).collect();
    assert!(joined == bytes(&large.iter().map(|value| value + 1.0).collect::<Vec<_>>()));
    // An interrupted push changes nothing and can be sent again.
    let next = Push { tensors: 1, ..push(0, attempt, 2, 1) };
    let mut cut = push_messages(&next, std::slice::from_ref(&ones));
    cut.pop();
    assert_eq!(flight_push(&mut client, cut).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(exchange.store.record().workers[0].step, 1);
    assert!(flight_push(&mut client, push_messages(&next, &[ones])).await.unwrap().applied);
}

#[tokio::test]
async fn wrong_secrets_and_other_versions_are_refused() {
    let service = ParameterStores::default();
    let exchange = service.open(&run(), settings(hogwild::MODE, 3, &[1]));
    let server = ParameterServer::start(service.clone()).await.unwrap();
    let mut client = client(&server).await;
    let refused = |outcome: Result<(Pulled, Vec<FlightData>), tonic::Status>| outcome.unwrap_err().code();
    let wrong = Pull { session: SessionKey("guess".to_owned()), ..pull(0, None, None) };
    assert_eq!(refused(flight_pull(&mut client, &wrong).await), Code::NotFound);
    let newer = Pull { wire_version: WIRE_VERSION + 1, ..pull(0, None, None) };
    assert_eq!(refused(flight_pull(&mut client, &newer).await), Code::InvalidArgument);
    let ticket = Ticket { ticket: b"no ticket".to_vec().into() };
    assert_eq!(client.do_get(ticket).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(flight_push(&mut client, Vec::new()).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(flight_push(&mut client, vec![FlightData::default()]).await.unwrap_err().code(), Code::InvalidArgument);
    let stranger = Push { session: SessionKey(String::new()), ..start(0, 1) };
    assert_eq!(flight_push(&mut client, push_messages(&stranger, &[])).await.unwrap_err().code(), Code::NotFound);
    let unknown = push_messages(&start(0, 12345), &[]);
    assert_eq!(flight_push(&mut client, unknown).await.unwrap_err().code(), Code::Aborted);
    drop(exchange);
    assert_eq!(refused(flight_pull(&mut client, &pull(0, None, None)).await), Code::NotFound);
}
