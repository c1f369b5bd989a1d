//! One controller's `StreamChannel`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use p4runtime::v1;
use p4runtime::v1::stream_message_response::Update;
use tokio::sync::mpsc;
use tonic::Status;

use super::arbitration::StreamId;
use super::device::Device;

/// Messages that wait for a controller that is slow to read.
const QUEUE: usize = 8192;
/// Places kept for arbitration and errors when packets and digests come too fast.
const RESERVED: usize = 256;

type Item = Result<v1::StreamMessageResponse, Status>;

/// Where messages to one controller go.
#[derive(Debug, Clone)]
pub(super) struct StreamSender {
    queue: mpsc::Sender<Item>,
    /// Messages, both ways, after which the stream ends on purpose; shared by the clones.
    left: Option<Arc<AtomicU64>>,
}

impl StreamSender {
    /// Sends what must arrive: arbitration. `false` when the controller reads nothing any more.
    pub(super) fn send(&self, update: Update) -> bool {
        if self.count().is_err() {
            return false;
        }
        let message = v1::StreamMessageResponse {
            update: Some(update),
        };
        self.queue.try_send(Ok(message)).is_ok()
    }

    /// Counts a message from the controller.
    ///
    /// # Errors
    /// The stream has ended on purpose.
    pub(super) fn received(&self) -> Result<(), Status> {
        self.count()
    }

    fn count(&self) -> Result<(), Status> {
        let Some(left) = &self.left else {
            return Ok(());
        };
        let less = |left: u64| left.checked_sub(1);
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
        {
            return Ok(());
        }
        let status = Status::unavailable("fault on purpose: the stream ends");
        self.end(status.clone());
        Err(status)
    }

    /// Sends what may be lost: packets, digests, notifications, errors. `false` when it was.
    pub(super) fn offer(&self, update: Update) -> bool {
        self.queue.capacity() > RESERVED && self.send(update)
    }

    /// Ends the stream with a status.
    pub(super) fn end(&self, status: Status) {
        // A full queue means that nobody reads; the stream then ends without its status.
        let _ = self.queue.try_send(Err(status));
    }
}

/// A controller's side of a stream to a [`Device`], closed when dropped.
#[derive(Debug)]
pub struct ControllerStream {
    device: Arc<Device>,
    id: StreamId,
    responses: mpsc::Receiver<Item>,
}

impl ControllerStream {
    pub(super) fn new(device: &Arc<Device>) -> Self {
        let (queue, responses) = mpsc::channel(QUEUE);
        let left = device.stream_messages();
        let left = left.map(|messages| Arc::new(AtomicU64::new(messages)));
        let id = device.add_stream(StreamSender { queue, left });
        ControllerStream {
            device: Arc::clone(device),
            id,
            responses,
        }
    }

    /// The stream's identity.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Sends a message to the device at time `now`.
    ///
    /// # Errors
    /// The status that the stream ends with. Errors that do not end it come as messages.
    pub fn send(&self, now: Duration, message: v1::StreamMessageRequest) -> Result<(), Status> {
        self.device.stream_message(now, self.id, message)
    }

    /// The next message from the device, if one waits.
    pub fn try_recv(&mut self) -> Option<Result<v1::StreamMessageResponse, Status>> {
        self.responses.try_recv().ok()
    }

    /// The next message from the device; `None` when the device ended the stream.
    pub async fn recv(&mut self) -> Option<Result<v1::StreamMessageResponse, Status>> {
        self.responses.recv().await
    }

    /// For the gRPC service: the queue polled as a stream.
    pub(super) fn poll_recv(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Item>> {
        self.responses.poll_recv(context)
    }
}

impl Drop for ControllerStream {
    fn drop(&mut self) {
        self.device.close_stream(self.id);
    }
}
