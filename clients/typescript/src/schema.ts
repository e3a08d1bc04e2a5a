// Made from openapi.json by `npm run generate`.

export interface paths {
    "/api/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What was done with the user's keys, the newest first. The use of a key is there within about a second. */
        get: operations["listAuditEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/config": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Mode, sign-in and onboarding. */
        get: operations["publicConfig"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/frontend-env/update": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Writes a variable that front ends need (local mode only). */
        post: operations["updateFrontendEnv"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/generate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Generates a text. */
        post: operations["generate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The user's keys, masked. */
        get: operations["listKeys"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/keys/{provider}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Checks a key and saves it, over the old one if there is one. */
        put: operations["saveKey"];
        post?: never;
        /** Removes all versions of a key. */
        delete: operations["removeKey"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/keys/{provider}/rollback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Goes back to the version before the current one, while it is kept (24 hours). */
        post: operations["rollBackKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/keys/{provider}/validate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Asks the provider about the stored key, or about one that is not saved. */
        post: operations["validateKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Deletes everything that is kept for the user: all keys, their versions, the data key, onboarding.
         * @description Tokens that were issued before are refused from then on; a fresh sign-in starts anew.
         */
        delete: operations["deleteAccount"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/api-keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The user's keys, masked. */
        get: operations["listOnboardingKeys"];
        put?: never;
        /** Checks a key and saves it. */
        post: operations["saveOnboardingKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/api-keys/onboarding": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The same; ALwrity's front end has two addresses for it. */
        get: operations["listKeysForOnboarding"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/api-keys/validate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Asks every provider about the stored keys. */
        get: operations["validateOnboardingKeys"];
        put?: never;
        /** Asks every provider about the stored keys. */
        post: operations["postValidateOnboardingKeys"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/complete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends onboarding. */
        post: operations["onboardingComplete"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/config": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The steps that there are. */
        get: operations["onboardingConfig"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/init": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Everything that a page needs when it opens.
         * @description Of a token's claims only the user's id is kept, so that `email`, `first_name` and `last_name` are always null;
         *     `clerk_user_id` is that id again, in production with Clerk as issuer.
         */
        get: operations["onboardingInit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/progress": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All steps with their state. */
        get: operations["onboardingProgress"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/providers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All providers with where to get a key. */
        get: operations["listOnboardingProviders"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/providers/{provider}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A provider with how to get a key, step by step. */
        get: operations["onboardingProvider"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/providers/{provider}/validate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Asks the provider about a key. */
        post: operations["validateOnboardingProvider"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins anew; keys stay. */
        post: operations["onboardingReset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Where to go on. */
        get: operations["onboardingResume"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Begins; what was done before stays. */
        post: operations["onboardingStart"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Where the user stands. */
        get: operations["onboardingStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/step/{n}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A step with its state. */
        get: operations["onboardingStep"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/step/{n}/complete": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Completes a step. */
        post: operations["completeOnboardingStep"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/step/{n}/skip": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Passes over an optional step. */
        post: operations["skipOnboardingStep"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/step/{n}/validate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the user may go to a step. */
        get: operations["onboardingStepAccess"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/onboarding/summary": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * User, keys and steps on one page.
         * @description The user as in `/api/onboarding/init`.
         */
        get: operations["onboardingSummary"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/providers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All providers. */
        get: operations["listProviders"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/research": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Searches the web; the answer is Exa's own. */
        post: operations["research"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/service/users/{user_id}/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All keys of a user that the token is for, in plain text. */
        get: operations["readKeysOfUser"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/service/users/{user_id}/keys/{provider}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One key of a user, in plain text. */
        get: operations["readKeyOfUser"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/usage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What the user's calls came to, per day and provider: requests, errors and tokens. Calls that just ended are in it;
         *     those that another replica served, a few seconds later.
         */
        get: operations["getUsage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The process is alive. */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The database answers, and it is the one whose master key Keyfold has. */
        get: operations["readiness"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/clerk": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Takes a message of Clerk's webhook: a user who was deleted there is deleted here.
         * @description Signed by Svix instead of carrying a token. Events that do not concern Keyfold, and messages that were acted upon
         *     before, are answered with success, so that they are not sent again.
         */
        post: operations["clerkWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description What was done with one of the user's keys. */
        AuditEvent: {
            /** @description What was done, such as `key.saved` or `key.opened`. */
            action: string;
            /** @description Who did it: `user`, `act:ID`, `service:NAME`, `operator`, `application`, `issuer` or `keyfold`. */
            actor: string;
            /** @description Where the request came from. */
            address?: string | null;
            /** @description RFC 3339, UTC. */
            at: string;
            /** @description Joins a key that was opened with the end of its call. */
            call_id?: string | null;
            /** Format: int64 */
            duration_ms?: number | null;
            /** @description The same for equal keys; nothing can be guessed from it. */
            fingerprint?: string | null;
            /** Format: int64 */
            id: number;
            /** Format: int64 */
            key_version?: number | null;
            note?: string | null;
            /** @description What came of it, such as `ok` or `rejected`. */
            outcome: string;
            provider?: string | null;
            /**
             * Format: int64
             * @description The provider's own status.
             */
            provider_status?: number | null;
            /** @description What the key was opened for. */
            purpose?: string | null;
            request_id?: string | null;
        };
        AuditPage: {
            /** @description The newest first. */
            events: components["schemas"]["AuditEvent"][];
            /** @description For the next page, as `cursor`; null on the last one. */
            next_cursor?: string | null;
        };
        /** @description How to sign in. Of the others only those are there that the kind needs. */
        AuthConfig: {
            /** @description The audience to ask for */
            audience?: string | null;
            /** @description The client id that the page signs in with */
            client_id?: string | null;
            /** @description The `OpenID` Connect issuer */
            issuer?: string | null;
            /** @description `none`, `token`, `clerk` or `oidc` */
            kind: string;
            /** @description Clerk's publishable key */
            publishable_key?: string | null;
        };
        Begun: {
            /** Format: int32 */
            current_step: number;
            message: string;
            started_at: string;
        };
        CompleteStep: {
            /** @description Step 1: `{"api_keys": {provider: key}}`, or nothing if the keys were saved before. */
            data?: unknown;
            /** @description What the caller itself found wrong; a step with errors is not completed. */
            validation_errors?: string[];
        };
        Ended: {
            completed_at?: string | null;
            message: string;
        };
        /** @description The `.env` files of local mode. */
        EnvFilePaths: {
            /** @description The back end's. */
            backend: string;
            /** @description The front end's, which takes the keys that browsers need. */
            frontend?: string | null;
        };
        Figures: {
            /**
             * Format: int64
             * @description Requests that failed.
             */
            errors: number;
            /** Format: int64 */
            input_tokens: number;
            /** Format: int64 */
            output_tokens: number;
            /** Format: int64 */
            requests: number;
            /**
             * Format: int64
             * @description Requests that went well and whose tokens are not known.
             */
            unknown: number;
        };
        FrontendVariable: {
            description?: string | null;
            /** @description One of the registry's frontend variables, such as `REACT_APP_COPILOTKIT_API_KEY`. */
            key: string;
            value: string;
        };
        GenerateRequest: {
            /**
             * Format: int32
             * @description The most tokens that the answer may have.
             */
            max_tokens?: number | null;
            /** @description The provider's default unless another one is named. */
            model?: string | null;
            prompt: string;
            /** @description `gemini` unless another one is named. */
            provider?: string | null;
            /** @description Answer with server-sent events: `delta` with `text`, `done` with `usage`, `error` with a problem. */
            stream?: boolean;
            /** @description Instructions for the model. */
            system?: string | null;
        };
        GenerateResponse: {
            model: string;
            provider: string;
            text: string;
            usage: components["schemas"]["UsageView"];
        };
        Health: {
            status: string;
        };
        Init: {
            onboarding: components["schemas"]["InitOnboarding"];
            session: components["schemas"]["SessionView"];
            user: components["schemas"]["UserView"];
        };
        InitOnboarding: components["schemas"]["Status"] & {
            last_updated: string;
            steps: components["schemas"]["StepView"][];
        };
        /** @description A header with a key: the name, then the prefix and the key as its value. */
        KeyHeader: {
            name: string;
            /** @description `Bearer ` with a space, or nothing. */
            prefix: string;
        };
        KeyList: {
            keys: components["schemas"]["KeyView"][];
            /** @description Required providers without a key. */
            missing: string[];
        };
        KeySaved: {
            message: string;
            provider: string;
            /** @description `valid`, `limited` or `unverified` */
            status: string;
            warnings?: string[];
        };
        /** @description The form of a key: a prefix, then so many characters of a kind. */
        KeyShape: {
            /** @description How many come after the prefix at least. */
            at_least?: number | null;
            /**
             * @description The kind of all characters after the prefix: `word` (letters, digits, - and _), `alphanumeric`, `hex`, `uuid` or
             *     `any`
             */
            characters: string;
            /** @description How many come after the prefix. */
            exactly?: number | null;
            /** @description Whether no other provider's keys look like this. */
            only_here: boolean;
            /** @description How it begins. */
            prefix?: string;
        };
        /** @description What a user may know of a stored key. */
        KeyView: {
            created_at?: string | null;
            /** @description Local mode: the `.env` files that a saved key stands in. */
            files?: string[];
            /** @description Whether it can be rolled back. */
            has_previous: boolean;
            last_used_at?: string | null;
            last_verified_at?: string | null;
            /** @description The last four characters of a key of 12 or more, nothing of a shorter one. */
            masked: string;
            /** @description Local mode: the variable of the process that is used instead of what the files have. */
            overridden?: string | null;
            provider: string;
            /** @description `database`, `env_file` or `environment` */
            source: string;
            /** @description `valid`, `limited`, `rejected`, `unverified` or `unreadable` */
            status: string;
            updated_at?: string | null;
            /**
             * Format: int64
             * @description Counts the replacements; null for a key that was never saved here.
             */
            version?: number | null;
        };
        MaskedKeys: {
            /** @description Masked keys by provider. */
            api_keys: {
                [key: string]: string;
            };
            configured_providers: string[];
            total_providers: number;
        };
        OnboardingConfig: {
            optional_steps: number[];
            required_steps: number[];
            /** @description What each step asks for, by its number. */
            step_requirements: {
                [key: string]: string[];
            };
            /** Format: int32 */
            total_steps: number;
        };
        /** @description The body of every error, as the description of the API shows it. */
        Problem: {
            /** @description A stable word for programs; some codes have fields of their own besides. */
            code: string;
            /** @description What happened and what to do about it. */
            detail: string;
            /** @description The id of the request, also in `X-Request-Id`. */
            request_id: string;
            /**
             * Format: int32
             * @description The status of the answer.
             */
            status: number;
            /** @description The kind of error, in a few words. */
            title: string;
            /** @description `urn:keyfold:problem:` and the code. */
            type: string;
        };
        ProgressView: {
            completed_at?: string | null;
            /**
             * Format: double
             * @description 0 to 100
             */
            completion_percentage: number;
            /** Format: int32 */
            current_step: number;
            is_completed: boolean;
            last_updated: string;
            /**
             * Format: double
             * @description 0 to 100
             */
            progress: number;
            started_at: string;
            steps: components["schemas"]["StepView"][];
            total_steps: number;
        };
        ProviderList: {
            providers: components["schemas"]["ProviderView"][];
        };
        ProviderView: {
            /** @description Further variables that its own libraries read. */
            also_exported_as: string[];
            /** @description Whether a key can be checked without cost. */
            checkable: boolean;
            /** @description The model that generation uses unless another one is named. */
            default_model?: string | null;
            /** @description What it does for the user, in a sentence. */
            description: string;
            /** @description Follows "a key …". */
            format_hint: string;
            /** @description The variable in the frontend `.env`, for a key that browsers use. */
            frontend_variable?: string | null;
            /** @description Where its own API begins on the gateway. */
            gateway_path: string;
            /** @description The form of that: `gemini`, `openai`, `openai_responses` or `anthropic` */
            generate_api?: string | null;
            /** @description The endpoint of that (Gemini: of the models) on the gateway, if it is there. */
            generate_path?: string | null;
            /** @description Whether it generates text here. */
            generates: boolean;
            id: string;
            /** @description Where client libraries put the key, and on the gateway the caller's credential. */
            key_header: components["schemas"]["KeyHeader"];
            name: string;
            /** @description Forms that are refused. */
            refused: components["schemas"]["RefusedKeyShape"][];
            /** @description Whether onboarding needs it. */
            required: boolean;
            /** @description Whether research uses it. */
            researches: boolean;
            /** @description How a key is made, step by step. */
            setup_instructions: string[];
            /** @description Where a key is made. */
            setup_url: string;
            /** @description Forms of its keys that are known. A key of another form may be right all the same. */
            shapes: components["schemas"]["KeyShape"][];
            /** @description The variable in the backend `.env`. */
            variable: string;
        };
        PublicConfig: {
            auth: components["schemas"]["AuthConfig"];
            env_files?: components["schemas"]["EnvFilePaths"] | null;
            /** @description `local` or `production` */
            mode: string;
            /** @description `keyfold` or `alwrity` */
            onboarding: string;
        };
        /** @description The beginning of a key that is refused. */
        RefusedKeyShape: {
            prefix: string;
            /** @description Says what to use instead. */
            why: string;
        };
        ResearchRequest: {
            /**
             * Format: int32
             * @description 1 to 100; Exa's own default without it.
             */
            num_results?: number | null;
            query: string;
        };
        Resume: {
            can_resume: boolean;
            /** Format: double */
            completion_percentage: number;
            /** Format: int32 */
            current_step: number;
            last_updated: string;
            /** Format: int32 */
            resume_step?: number | null;
            started_at: string;
        };
        /** @description A key that was saved, and what the user should know. */
        SavedKeyView: components["schemas"]["KeyView"] & {
            warnings: string[];
        };
        SaveKey: {
            /**
             * Format: password
             * @description The key; white space around it does not count.
             */
            key: string;
        };
        SaveOnboardingKey: {
            /** Format: password */
            api_key: string;
            description?: string | null;
            provider: string;
        };
        ServiceKeys: {
            /** @description Each provider's id with the key in plain text. */
            keys: {
                [key: string]: string;
            };
        };
        SessionView: {
            initialized_at: string;
            /** Format: int64 */
            session_id: number;
        };
        Setup: {
            description: string;
            name: string;
            required: boolean;
            setup_url: string;
        };
        SetupList: {
            providers: {
                [key: string]: components["schemas"]["Setup"];
            };
        };
        SetupWithInstructions: components["schemas"]["Setup"] & {
            setup_instructions: string[];
        };
        Status: {
            can_proceed_to_final: boolean;
            completed_at?: string | null;
            /**
             * Format: double
             * @description 0 to 100
             */
            completion_percentage: number;
            /**
             * Format: int32
             * @description Counts from 1.
             */
            current_step: number;
            is_completed: boolean;
            /** Format: int32 */
            next_step?: number | null;
            started_at: string;
        };
        StepAccess: {
            can_proceed: boolean;
            /** @description `locked`, `available`, `completed` or `skipped` */
            step_status: string;
            validation_errors: string[];
        };
        StepCompleted: {
            data?: unknown;
            message: string;
            /** Format: int32 */
            step_number: number;
            warnings?: string[];
        };
        StepSkipped: {
            message: string;
            /** Format: int32 */
            step_number: number;
        };
        StepView: {
            completed_at?: string | null;
            /** @description What the step was told; never a key. */
            data?: unknown;
            description: string;
            /** @description `pending`, `in_progress`, `completed` or `skipped` */
            status: string;
            /** Format: int32 */
            step_number: number;
            title: string;
            validation_errors: string[];
        };
        Summary: {
            /** @description `configured` or `missing`, by provider. */
            api_keys: {
                [key: string]: string;
            };
            /** Format: double */
            completion_percentage: number;
            /** Format: int32 */
            current_step: number;
            is_completed: boolean;
            steps: components["schemas"]["StepView"][];
            user: components["schemas"]["UserView"];
        };
        /** @description What the calls of one day to one provider came to. */
        UsageOfDay: components["schemas"]["Figures"] & {
            /** @description The day in UTC, such as `2026-11-30`. */
            day: string;
            /** @description The same by model. */
            models: components["schemas"]["UsageOfModel"][];
            provider: string;
        };
        UsageOfModel: components["schemas"]["Figures"] & {
            /** @description As the provider names it; null where it did not say. */
            model?: string | null;
        };
        UsageOfUser: {
            /** @description One entry for each day and provider with calls, the newest day first. */
            usage: components["schemas"]["UsageOfDay"][];
        };
        /** @description null where the provider did not say. */
        UsageView: {
            /** Format: int64 */
            input_tokens?: number | null;
            /** Format: int64 */
            output_tokens?: number | null;
        };
        UserView: {
            /** @description The user's id again, in production with Clerk as issuer; else null. */
            clerk_user_id?: string | null;
            /** @description Always null: of a token's claims only the user's id is kept. */
            email?: string | null;
            /** @description Always null, likewise. */
            first_name?: string | null;
            id: string;
            /** @description Always null, likewise. */
            last_name?: string | null;
        };
        Validated: {
            /** @description In plain words, with what to do. */
            detail: string;
            provider: string;
            /** @description `valid`, `limited`, `rejected` or `unverified` */
            status: string;
            /** @description null if nothing can be said */
            valid?: boolean | null;
        };
        ValidateKey: {
            /**
             * Format: password
             * @description A key that is not saved; without it the stored one is checked.
             */
            key?: string | null;
        };
        ValidateOnboardingKey: {
            /**
             * Format: password
             * @description A key that is not saved; without it the stored one is checked.
             */
            api_key?: string | null;
        };
        ValidationResult: {
            /** @description `valid`, `limited`, `rejected`, `unverified` or `unreadable` */
            status: string;
            /** @description null if nothing can be said */
            valid?: boolean | null;
        };
        ValidationResults: {
            all_valid: boolean;
            total_providers: number;
            validation_results: {
                [key: string]: components["schemas"]["ValidationResult"];
            };
        };
        /** @description What a provider said of a key. */
        VerdictView: {
            /** @description In plain words, with what to do. */
            detail: string;
            /** @description `valid`, `limited`, `rejected` or `unverified` */
            status: string;
            /** @description null if nothing can be said */
            valid?: boolean | null;
        };
        Written: {
            key: string;
            message: string;
            success: boolean;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listAuditEvents: {
        parameters: {
            query?: {
                /** @description this action only, such as `key.saved`; or a kind of them, such as `key.` */
                action?: string;
                /** @description the `next_cursor` of the page before */
                cursor?: string;
                /** @description events of a page, 1 to 200; 50 without it */
                limit?: number;
                /** @description of which this came only, such as `ok` */
                outcome?: string;
                /** @description of this provider's keys only */
                provider?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditPage"];
                };
            };
            /** @description `invalid_request`: names the parameter */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    publicConfig: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublicConfig"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    updateFrontendEnv: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FrontendVariable"];
            };
        };
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Written"];
                };
            };
            /** @description production, or there is no front end here */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description no variable of a front end */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    generate: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GenerateRequest"];
            };
        };
        responses: {
            /** @description done; with `stream`, server-sent events */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GenerateResponse"];
                    "text/event-stream": string;
                };
            };
            /** @description `no_api_key`, `unknown_provider` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key_rejected` */
            424: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `provider_error`, `provider_unreachable` */
            502: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `provider_timeout` */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listKeys: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyList"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    saveKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the provider's id */
                provider: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SaveKey"];
            };
        };
        responses: {
            /** @description replaced */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SavedKeyView"];
                };
            };
            /** @description new */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SavedKeyView"];
                };
            };
            /** @description `conflict` */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `invalid_key_format`, `key_rejected` */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    removeKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the provider's id */
                provider: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description removed */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `no_api_key`, `unknown_provider` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    rollBackKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the provider's id */
                provider: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeyView"];
                };
            };
            /** @description `no_previous_version`, `unknown_provider` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    validateKey: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the provider's id */
                provider: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ValidateKey"] | null;
            };
        };
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["VerdictView"];
                };
            };
            /** @description `no_api_key`, `unknown_provider` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteAccount: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description deleted */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `user_deleted`: the token is from before an earlier deletion */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listOnboardingKeys: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MaskedKeys"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    saveOnboardingKey: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SaveOnboardingKey"];
            };
        };
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KeySaved"];
                };
            };
            /** @description `invalid_key_format`, `key_rejected` */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listKeysForOnboarding: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MaskedKeys"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    validateOnboardingKeys: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationResults"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    postValidateOnboardingKeys: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationResults"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingComplete: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Ended"];
                };
            };
            /** @description a required step is open; says which */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingConfig: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OnboardingConfig"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingInit: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Init"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingProgress: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProgressView"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listOnboardingProviders: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SetupList"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingProvider: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the provider's id */
                provider: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SetupWithInstructions"];
                };
            };
            /** @description `unknown_provider` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    validateOnboardingProvider: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the provider's id */
                provider: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ValidateOnboardingKey"] | null;
            };
        };
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Validated"];
                };
            };
            /** @description `no_api_key`, `unknown_provider` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingReset: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Begun"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingResume: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Resume"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingStart: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Begun"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingStatus: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Status"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingStep: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description counts from 1 */
                n: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StepView"];
                };
            };
            /** @description no such step */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    completeOnboardingStep: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description counts from 1 */
                n: number;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["CompleteStep"] | null;
            };
        };
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StepCompleted"];
                };
            };
            /** @description no such step */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description required keys are missing, or a key is wrong; nothing was saved then */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    skipOnboardingStep: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description counts from 1 */
                n: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StepSkipped"];
                };
            };
            /** @description no such step */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description the step is required */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingStepAccess: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description counts from 1 */
                n: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StepAccess"];
                };
            };
            /** @description no such step */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    onboardingSummary: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Summary"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listProviders: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ProviderList"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    research: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ResearchRequest"];
            };
        };
        responses: {
            /** @description Exa's answer: `results` with `title`, `url`, … */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                };
            };
            /** @description `no_api_key` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key_rejected` */
            424: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readKeysOfUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the user's id, percent-encoded */
                user_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done, and in the audit log */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServiceKeys"];
                };
            };
            /** @description `forbidden`, `user_suspended` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `user_deleted` */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key_unreadable`: one of them does not open, so none is given; ask for the others one by one */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `audit_unavailable`, `master_key_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readKeyOfUser: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description the provider's id */
                provider: string;
                /** @description the user's id, percent-encoded */
                user_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done, and in the audit log */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ServiceKeys"];
                };
            };
            /** @description `forbidden`, `user_suspended` */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `no_api_key`, `unknown_provider` */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `user_deleted` */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `key_unreadable` */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `audit_unavailable`, `master_key_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    getUsage: {
        parameters: {
            query?: {
                /** @description so many days, today included, 1 to 366; 30 without it */
                days?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UsageOfUser"];
                };
            };
            /** @description `invalid_request`: `days` */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readiness: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description done */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description `database_unavailable`, `master_key_unavailable` */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    clerkWebhook: {
        parameters: {
            query?: never;
            header: {
                /** @description the message's id */
                "svix-id": string;
                /** @description its signatures */
                "svix-signature": string;
                /** @description when it was sent, in seconds since 1970 */
                "svix-timestamp": string;
            };
            path?: never;
            cookie?: never;
        };
        /** @description an event of Clerk */
        requestBody: {
            content: {
                "application/json": Record<string, never>;
            };
        };
        responses: {
            /** @description taken */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description `unauthenticated`: the signature, or the time of the message */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `not_found`: no signing secret is configured */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description `rate_limited`: too many messages from this address that Clerk did not sign */
            429: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description any other error */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
