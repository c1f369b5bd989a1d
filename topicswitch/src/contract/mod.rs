//! Where broker and controller meet: the broker listens, the controller connects. Over TLS each side
//! shows a certificate and looks at the other's; both read their files again, so that a renewed
//! certificate needs no restart.

mod connect;
mod listen;
mod pem;
mod trouble;

pub use self::connect::RemoteBroker;
pub use self::listen::{Certificates, ContractServer};
pub use self::pem::PemError;
