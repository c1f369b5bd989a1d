//! A model of the change protocol, for the model checker `stateright`.
//!
//! It is about one thing: while subscribers join, leave and sleep, while leases end, controllers crash
//! and writes take effect in any order, does every message reach those who must get it, once, and nobody
//! else? The model has the broker's intent, generations, histories and gate, the controller's plan,
//! phases and garbage, and the switch's rows, lease register and packets between their stages. Each
//! function names the one of the code that it stands for; `docs/model.md` says what is left out.
//!
//! ```
//! use model::{ChangeProtocol, scenario};
//! use stateright::{Checker, Model};
//! let model = ChangeProtocol::new(scenario::first_subscriber());
//! let checker = model.checker().spawn_bfs().join();
//! checker.assert_properties();
//! ```
#![forbid(unsafe_code)]

pub mod broker;
pub mod controller;
pub mod history;
pub mod ledger;
mod rules;
pub mod scenario;
pub mod state;
pub mod switch;

use stateright::{Model, Property};

pub use ledger::{Message, Standing};
pub use rules::{Mutant, Op, Rules};
pub use state::{Action, State};

/// Clients that may subscribe.
pub const CLIENTS: usize = 3;
/// Topics.
pub const TOPICS: usize = 2;
/// Multicast groups that may be given out.
pub const GROUPS: usize = 5;
/// Replication ids that may be given out.
pub const RIDS: usize = 4;

/// A client, by its number.
pub type Client = usize;
/// A set of clients, a bit for each.
pub type Clients = u8;

/// The model of one world.
#[derive(Clone, Debug)]
pub struct ChangeProtocol {
    /// How much of the world.
    pub rules: Rules,
}

impl ChangeProtocol {
    /// The model of this world.
    pub fn new(rules: Rules) -> Self {
        ChangeProtocol { rules }
    }
}

fn each_done(state: &State, holds: impl Fn(&Message) -> bool) -> bool {
    let mut messages = state.messages.iter().enumerate();
    messages.all(|(number, message)| state.is_under_way(number) || holds(message))
}

impl Model for ChangeProtocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.rules)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(&self.rules, actions);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        state.step(&self.rules, action);
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no duplicate", |_, state: &State| {
                state.messages.iter().all(Message::is_single)
            }),
            Property::always("no wrong recipient", |_, state: &State| {
                state.messages.iter().all(Message::is_private)
            }),
            Property::always("no loss", |_, state: &State| {
                each_done(state, Message::is_complete)
            }),
            Property::always("one PUBACK", |_, state: &State| {
                state.messages.iter().all(|message| message.pubacks <= 1)
                    && each_done(state, |message| message.pubacks == u8::from(message.qos1))
            }),
            Property::always("no copy of a forgotten generation", |_, state: &State| {
                !state.orphaned
            }),
            // Else the checks above could hold because nothing happens.
            Property::sometimes("all is over", |model: &Self, state: &State| {
                state.is_over(&model.rules)
            }),
        ]
    }
}
