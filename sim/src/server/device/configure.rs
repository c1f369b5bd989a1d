//! Setting and reading the forwarding pipeline configuration.

use std::sync::Arc;
use std::time::Duration;

use p4runtime::v1;
use tonic::Status;

use super::{Device, Forwarding, Running, Sessions};
use crate::server::errors::{Outcome, Refusal};
use crate::server::pipeline::Loaded;

impl Device {
    /// `SetForwardingPipelineConfig`.
    ///
    /// # Errors
    /// NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT, as the specification says.
    pub fn set_pipeline(
        &self,
        now: Duration,
        request: v1::SetForwardingPipelineConfigRequest,
    ) -> Result<(), Status> {
        use v1::set_forwarding_pipeline_config_request::Action;
        self.check_device(request.device_id)?;
        let check_writer = |sessions: &Sessions| {
            self.check_writer(sessions, &request.role, request.election_id.as_ref())?;
            match sessions.arbitration.access(&request.role).pipeline() {
                true => Ok(()),
                false => Err(Refusal::denied(format!(
                    "the role \"{}\" may not set the forwarding pipeline",
                    request.role
                ))),
            }
        };
        check_writer(&self.sessions.lock())?;
        let action = request.action();
        let has_config = request.config.is_some();
        // Loading a program takes a while, and nobody has to wait for it.
        let verified = match action {
            Action::Unspecified => {
                return Err(Refusal::invalid("the request has no action").into());
            }
            Action::Commit if has_config => {
                return Err(
                    Refusal::invalid("COMMIT takes no config: it commits the saved").into(),
                );
            }
            Action::Commit => None,
            _ => {
                let config = request.config.clone();
                let config = config.ok_or_else(|| Refusal::invalid("the request has no config"))?;
                Some(Loaded::verify(config)?)
            }
        };
        if action == Action::Verify {
            return Ok(());
        }
        let sessions = self.sessions.lock();
        check_writer(&sessions)?;
        let mut forwarding = self.forwarding.write();
        match (action, verified) {
            (Action::VerifyAndSave, Some(loaded)) => {
                forwarding.saved = Some(self.prepare(loaded));
            }
            (Action::ReconcileAndCommit, Some(loaded)) => {
                let next = self.reconcile(now, &mut forwarding, loaded)?;
                self.commit(&mut forwarding, next);
            }
            (_, Some(loaded)) => {
                let next = self.prepare(loaded);
                self.commit(&mut forwarding, next);
            }
            (_, None) => match forwarding.saved.take() {
                Some(saved) => self.commit(&mut forwarding, saved),
                None => {
                    return Err(Refusal::not_found("no config was saved (VERIFY_AND_SAVE)").into());
                }
            },
        }
        self.refresh_packet_path(&sessions, &forwarding);
        drop((forwarding, sessions));
        self.wake();
        Ok(())
    }

    /// An instance of a pipeline that no packet sees yet.
    pub(super) fn prepare(&self, loaded: Loaded) -> Running {
        let control = self.switch.prepare(Arc::clone(&loaded.pipeline));
        Running {
            loaded: Arc::new(loaded),
            control,
            notes: Default::default(),
            digests: Default::default(),
        }
    }

    /// A fresh instance of the same pipeline, at work.
    pub(super) fn again(&self, loaded: &Arc<Loaded>) -> Running {
        let running = Running {
            loaded: Arc::clone(loaded),
            control: self.switch.prepare(Arc::clone(&loaded.pipeline)),
            notes: Default::default(),
            digests: Default::default(),
        };
        self.switch.install(&running.control);
        running
    }

    /// From now on packets see this instance.
    fn commit(&self, forwarding: &mut Forwarding, next: Running) {
        self.switch.install(&next.control);
        *forwarding = Forwarding {
            running: Some(next),
            saved: None,
        };
    }

    /// The running instance's forwarding state under another config.
    fn reconcile(
        &self,
        now: Duration,
        forwarding: &mut Forwarding,
        loaded: Loaded,
    ) -> Outcome<Running> {
        let Some(mut running) = forwarding.running.take() else {
            return Ok(self.prepare(loaded));
        };
        let same = running.loaded.config.p4_device_config == loaded.config.p4_device_config
            && running.loaded.config.p4info == loaded.config.p4info;
        if same {
            // Handles of one JSON are the same in each pipeline loaded from it.
            running.loaded = Arc::new(loaded);
            return Ok(running);
        }
        let mut next = self.prepare(loaded);
        let kept = self.keep_state(now, &running, &mut next);
        match kept {
            Ok(()) => Ok(next),
            Err(refusal) => {
                forwarding.running = Some(running);
                Err(refusal)
            }
        }
    }

    /// `GetForwardingPipelineConfig`.
    ///
    /// # Errors
    /// NOT_FOUND for another device.
    pub fn get_pipeline(
        &self,
        request: v1::GetForwardingPipelineConfigRequest,
    ) -> Result<v1::GetForwardingPipelineConfigResponse, Status> {
        use v1::get_forwarding_pipeline_config_request::ResponseType;
        self.check_device(request.device_id)?;
        let forwarding = self.forwarding.read();
        let config = forwarding.running.as_ref().map(|running| {
            let config = &running.loaded.config;
            let (info, program) = match request.response_type() {
                ResponseType::All => (true, true),
                ResponseType::CookieOnly => (false, false),
                ResponseType::P4infoAndCookie => (true, false),
                ResponseType::DeviceConfigAndCookie => (false, true),
            };
            v1::ForwardingPipelineConfig {
                p4info: config.p4info.clone().filter(|_| info),
                p4_device_config: match program {
                    true => config.p4_device_config.clone(),
                    false => Vec::new(),
                },
                cookie: config.cookie,
            }
        });
        Ok(v1::GetForwardingPipelineConfigResponse { config })
    }
}
