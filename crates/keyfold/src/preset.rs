//! Which steps onboarding has: a set of its own, and the one that ALwrity's front ends know.

use crate::provider::ProviderId;

/// Which steps there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Keys, try it, done.
    Keyfold,
    /// The six steps of ALwrity, whose own data the host application keeps.
    Alwrity,
}

/// A step as it is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepDefinition {
    /// Its title.
    pub title: &'static str,
    /// What happens in it.
    pub description: &'static str,
    /// Whether onboarding cannot be completed without it.
    pub required: bool,
    /// What it asks for.
    pub requirements: &'static [&'static str],
}

const KEYFOLD_STEPS: &[StepDefinition] = &[
    step("API keys", "Enter your own provider keys", true, &["gemini"]),
    step("Try it", "Generate a text with your key", false, &[]),
    step("Done", "See what works now", true, &[]),
];

const ALWRITY_STEPS: &[StepDefinition] = &[
    step("API Keys", "Connect your AI services", true, &["gemini", "exa", "copilotkit"]),
    step("Website Analysis", "Set up website analysis and crawling", true, &["website_url"]),
    step("AI Research", "Configure AI research capabilities", true, &["research_preferences"]),
    step("Personalization", "Set up personalization features", false, &[]),
    step("Integrations", "Configure integrations", false, &[]),
    step("Complete Setup", "Finalize and complete onboarding", true, &[]),
];

const fn step(
    title: &'static str,
    description: &'static str,
    required: bool,
    requirements: &'static [&'static str],
) -> StepDefinition {
    StepDefinition { title, description, required, requirements }
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Keyfold, Self::Alwrity];

    /// `keyfold` or `alwrity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyfold => "keyfold",
            Self::Alwrity => "alwrity",
        }
    }

    /// The steps in order; step 1 is the first.
    pub fn steps(self) -> &'static [StepDefinition] {
        match self {
            Self::Keyfold => KEYFOLD_STEPS,
            Self::Alwrity => ALWRITY_STEPS,
        }
    }

    /// The providers whose keys the first step needs.
    pub fn required_providers(self) -> &'static [&'static str] {
        self.steps()[0].requirements
    }

    /// Whether onboarding needs this provider's key.
    pub fn requires(self, provider: &ProviderId) -> bool {
        self.required_providers().contains(&provider.as_str())
    }

    /// How many steps there are.
    pub fn total_steps(self) -> u32 {
        u32::try_from(self.steps().len()).unwrap_or(u32::MAX)
    }
}
