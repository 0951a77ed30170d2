package media

import (
	"time"

	"github.com/claviger/claviger/pkg/fault"
)

// The faults of the use case.
var (
	// ErrNotFound is told of tokens that are forged, cut, too old or another organization's alike.
	ErrNotFound     = fault.New(fault.NotFound, "JOB_NOT_FOUND", "there is no such job").Hinting("use the id that the submit answered, whole; jobs are not listed")
	ErrEnded        = fault.New(fault.Precondition, "JOB_ENDED", "the job has ended").Hinting("ask for it to see how")
	ErrNotDone      = fault.New(fault.Precondition, "JOB_NOT_DONE", "the job is not done yet").Hinting("ask for the job until it is completed, every few seconds").RetryingAfter(5 * time.Second)
	ErrFailed       = fault.New(fault.Precondition, "JOB_FAILED", "the job has not ended well, so it has no content").Hinting("ask for the job to see why")
	ErrNoContent    = fault.New(fault.NotFound, "JOB_CONTENT_NOT_FOUND", "the job has no such file").Hinting("ask for the job: its outputs are listed")
	ErrNoCancel     = fault.New(fault.Invalid, "CANCEL_NOT_SUPPORTED", "the provider has no call that cancels a job").Hinting("it runs to its end and is paid for")
	ErrNoJobs       = fault.New(fault.Invalid, "JOBS_NOT_SUPPORTED", "the provider has no jobs")
	ErrCredential   = fault.New(fault.Precondition, "JOB_CREDENTIAL_GONE", "the credential that the job was submitted with is gone").Hinting("look for the job in the account at the provider")
	ErrLabels       = fault.New(fault.Invalid, "JOB_LABELS_TOO_LARGE", "tags, session and user of a media job may take 2 KiB together, since its id carries them").Hinting("send fewer tags").With("param", "tags")
	ErrTooMany      = fault.New(fault.Unavailable, "TOO_MANY_JOBS", "this router follows as many jobs as it may").Hinting("try again later").RetryingAfter(30 * time.Second)
	ErrSealing      = fault.New(fault.Unavailable, "JOB_KEY_MISSING", "this router cannot name jobs yet").Hinting("try again; it waits for the vault").RetryingAfter(time.Second)
	ErrContentFetch = fault.New(fault.Unavailable, "JOB_CONTENT_UNAVAILABLE", "the file could not be fetched from where the provider keeps it").Blaming(fault.Provider).Hinting("try again; providers keep files for a limited time")
)

// ErrUnknown is an adapter's: the provider says that it has no such job.
var ErrUnknown = fault.New(fault.NotFound, "JOB_UNKNOWN_TO_PROVIDER", "the provider does not know the job").Blaming(fault.Provider)
