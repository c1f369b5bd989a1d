//! Setting and reading the forwarding pipeline configuration.

use std::sync::Arc;

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
        request: v1::SetForwardingPipelineConfigRequest,
    ) -> Result<(), Status> {
        use v1::set_forwarding_pipeline_config_request::Action;
        self.check_device(request.device_id)?;
        let check_writer = |sessions: &Sessions| {
            self.check_writer(sessions, &request.role, request.election_id.as_ref())
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
            (Action::VerifyAndSave, loaded) => forwarding.saved = loaded,
            (Action::ReconcileAndCommit, Some(loaded)) => {
                self.reconcile(&mut forwarding, loaded)?;
            }
            (_, Some(loaded)) => self.commit(&mut forwarding, loaded),
            (_, None) => match forwarding.saved.take() {
                Some(loaded) => self.commit(&mut forwarding, loaded),
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

    fn commit(&self, forwarding: &mut Forwarding, loaded: Loaded) {
        let control = self.switch.load(Arc::clone(&loaded.pipeline));
        self.digests.pipeline_changed();
        *forwarding = Forwarding {
            running: Some(Running {
                loaded: Arc::new(loaded),
                control,
            }),
            ..Forwarding::default()
        };
    }

    /// Keeps the forwarding state where that is possible: under the same program.
    fn reconcile(&self, forwarding: &mut Forwarding, loaded: Loaded) -> Outcome {
        match &mut forwarding.running {
            None => self.commit(forwarding, loaded),
            Some(running)
                if running.loaded.config.p4_device_config == loaded.config.p4_device_config
                    && running.loaded.config.p4info == loaded.config.p4info =>
            {
                // Handles of one JSON are the same in each pipeline loaded from it.
                running.loaded = Arc::new(loaded);
                forwarding.saved = None;
            }
            Some(_) => {
                return Err(Refusal::invalid(
                    "the forwarding state cannot be kept under another program: use \
                     VERIFY_AND_COMMIT",
                ));
            }
        }
        Ok(())
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
