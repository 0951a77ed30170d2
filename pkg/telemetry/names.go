package telemetry

import "go.opentelemetry.io/otel/attribute"

// The attributes of spans and measurements. Those of OpenTelemetry's conventions stand here and not
// in an import: the conventions for generative AI move between repositories and versions, and what
// dashboards are built on must not move with an upgrade.
const (
	// OrganizationID stands on every span that belongs to an organization. Who may see a span in
	// "claviger dev" is decided by it. It is never on a metric: there are too many organizations.
	OrganizationID = attribute.Key("claviger.org_id")
	RequestID      = attribute.Key("claviger.request_id")
	AttemptID      = attribute.Key("claviger.attempt_id")
	CredentialID   = attribute.Key("claviger.credential_id") // on spans alone
	// CredentialClass is "own" or "platform".
	CredentialClass = attribute.Key("claviger.credential.class")
	Policy          = attribute.Key("claviger.policy")
	// Edge is how a request came in, such as "openai" or "grpc".
	Edge = attribute.Key("claviger.edge")
	// Reason is the reason of a fault, such as FIELDS_INVALID.
	Reason = attribute.Key("claviger.reason")
	// Watcher is the service that follows the configuration.
	Watcher = attribute.Key("claviger.watcher")
	// Outcome is how an attempt or the counting of an event ended.
	Outcome = attribute.Key("claviger.outcome")

	RPCSystem     = attribute.Key("rpc.system.name")
	RPCMethod     = attribute.Key("rpc.method") // "package.Service/Method": rpc.service has gone into it
	RPCStatusCode = attribute.Key("rpc.response.status_code")
	ErrorType     = attribute.Key("error.type")

	HTTPMethod     = attribute.Key("http.request.method")
	HTTPRoute      = attribute.Key("http.route")
	HTTPStatusCode = attribute.Key("http.response.status_code")
	ServerAddress  = attribute.Key("server.address")

	GenAIOperation           = attribute.Key("gen_ai.operation.name") // "chat"
	GenAIProvider            = attribute.Key("gen_ai.provider.name")
	GenAIRequestModel        = attribute.Key("gen_ai.request.model")
	GenAIResponseModel       = attribute.Key("gen_ai.response.model")
	GenAIRequestStream       = attribute.Key("gen_ai.request.stream")
	GenAIFinishReasons       = attribute.Key("gen_ai.response.finish_reasons")
	GenAITimeToFirstChunk    = attribute.Key("gen_ai.response.time_to_first_chunk")
	GenAIInputTokens         = attribute.Key("gen_ai.usage.input_tokens")
	GenAIOutputTokens        = attribute.Key("gen_ai.usage.output_tokens")
	GenAICacheReadTokens     = attribute.Key("gen_ai.usage.cache_read.input_tokens")
	GenAICacheCreationTokens = attribute.Key("gen_ai.usage.cache_creation.input_tokens")
	GenAIReasoningTokens     = attribute.Key("gen_ai.usage.reasoning.output_tokens")
	GenAITokenType           = attribute.Key("gen_ai.token.type") // "input" or "output"

	DBSystem = attribute.Key("db.system.name")
	// DBRuns is how often a transaction ran, more than once if it lost a race.
	DBRuns = attribute.Key("claviger.db.runs")

	MessagingSystem      = attribute.Key("messaging.system")
	MessagingDestination = attribute.Key("messaging.destination.name")
	MessagingBatchCount  = attribute.Key("messaging.batch.message_count")
)

// The names of measurements. Views gives those that are histograms their buckets.
const (
	MetricGenAIDuration         = "gen_ai.client.operation.duration"
	MetricGenAITokens           = "gen_ai.client.token.usage" //nolint:gosec // a count of tokens, not one
	MetricGenAITimeToFirstChunk = "gen_ai.client.operation.time_to_first_chunk"
	MetricGenAITimePerChunk     = "gen_ai.client.operation.time_per_output_chunk"

	MetricRPCServerDuration  = "rpc.server.call.duration"
	MetricRPCClientDuration  = "rpc.client.call.duration"
	MetricRPCServerActive    = "claviger.rpc.server.active_calls"
	MetricHTTPServerDuration = "http.server.request.duration"
	MetricHTTPServerActive   = "http.server.active_requests"

	MetricStreamsOpen   = "claviger.streams.open"
	MetricJournalEvents = "claviger.journal.events"
	MetricJournalBytes  = "claviger.journal.size"

	MetricConfigVersion  = "claviger.config.version"
	MetricConfigWatchers = "claviger.config.watchers"

	MetricIngestLag     = "claviger.ingest.lag"
	MetricIngestEvents  = "claviger.ingest.events"
	MetricIngestPending = "claviger.ingest.pending"
)

// Buckets that are not the SDK's: its own begin at five of whatever unit there is.
var (
	genAISeconds = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	genAITokens  = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
	callSeconds  = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	lagSeconds   = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400}
)

// buckets of the histograms: the conventions' for generative AI, ours else.
var buckets = map[string][]float64{
	MetricGenAIDuration:         genAISeconds,
	MetricGenAITimeToFirstChunk: genAISeconds,
	MetricGenAITimePerChunk:     genAISeconds,
	MetricGenAITokens:           genAITokens,
	MetricRPCServerDuration:     callSeconds,
	MetricRPCClientDuration:     callSeconds,
	MetricHTTPServerDuration:    callSeconds,
	MetricIngestLag:             lagSeconds,
}
