package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "github.com/claviger/claviger/proto/gen/claviger/events/v1"
	routerv1 "github.com/claviger/claviger/proto/gen/claviger/router/v1"
	"github.com/claviger/claviger/proto/gen/claviger/router/v1/routerv1connect"
	"github.com/claviger/claviger/services/router/internal/completion"
	"github.com/claviger/claviger/services/router/internal/media"
)

// Jobs is the use case of media jobs.
type Jobs interface {
	Submit(ctx context.Context, through media.Completer, caller completion.Caller, req *completion.Request) (media.View, completion.Served, error)
	Get(ctx context.Context, caller completion.Caller, token string) (media.View, error)
	Cancel(ctx context.Context, caller completion.Caller, token string) (media.View, error)
}

// MediaServer implements the contract.
type MediaServer struct {
	Completions media.Completer
	Jobs        Jobs
	// Caller returns who is calling, as the access interceptor found it.
	Caller func(ctx context.Context) completion.Caller
}

var _ routerv1connect.MediaServiceHandler = (*MediaServer)(nil)

// GenerateImage makes pictures.
func (s *MediaServer) GenerateImage(ctx context.Context, in *routerv1.GenerateImageRequest) (*routerv1.GenerateImageResponse, error) {
	caller := s.Caller(ctx)
	req := mediaRequest(ctx, completion.Images, in, &completion.Prompt{User: in.GetUser(), Image: &completion.ImageInput{
		Text: in.GetPrompt(), Count: int(in.GetCount()), Size: in.GetSize(), AspectRatio: in.GetAspectRatio(), Quality: in.GetQuality(),
		Format: in.GetFormat(), Base64: in.GetInline(), Seed: in.Seed,
	}})
	out := &pictures{}
	if err := s.Completions.Complete(ctx, caller, req, out); err != nil {
		return nil, err
	}
	answer := &routerv1.GenerateImageResponse{
		RequestId: req.ID, Model: out.served.Target.Model, Usage: usageOf(out.final), Provenance: provenanceOf(ctx, caller.Provenance, out.served, out.final),
	}
	for _, p := range out.list {
		answer.Pictures = append(answer.Pictures, &routerv1.Picture{Url: p.URL, Data: p.Data, MediaType: p.MediaType, RevisedPrompt: p.RevisedText})
	}
	return answer, nil
}

// SubmitVideo submits a job.
func (s *MediaServer) SubmitVideo(ctx context.Context, in *routerv1.SubmitVideoRequest) (*routerv1.SubmitVideoResponse, error) {
	caller := s.Caller(ctx)
	video := &completion.VideoInput{
		Text: in.GetPrompt(), Seconds: int(in.GetSeconds()), Size: in.GetSize(), Resolution: in.GetResolution(),
		AspectRatio: in.GetAspectRatio(), Seed: in.Seed,
	}
	if image := in.GetImage(); image != nil {
		if (image.GetUrl() == "") == (len(image.GetData()) == 0) || (len(image.GetData()) > 0 && image.GetMediaType() == "") {
			return nil, errInput.Saying("an image needs either a url, or data with a media_type").With("param", "image")
		}
		video.ImageURL, video.ImageData, video.MediaType = image.GetUrl(), image.GetData(), image.GetMediaType()
	}
	if p := in.GetParameters(); p != nil {
		text, err := protojson.Marshal(p)
		if err != nil {
			return nil, errInput.Saying("parameters cannot be written as JSON").With("param", "parameters")
		}
		video.Parameters = string(text)
	}
	if video.Text == "" && video.Parameters == "" {
		return nil, errInput.Saying("a prompt is required").With("param", "prompt")
	}
	req := mediaRequest(ctx, completion.Videos, in, &completion.Prompt{User: in.GetUser(), Video: video})
	view, served, err := s.Jobs.Submit(ctx, s.Completions, caller, req)
	if err != nil {
		return nil, err
	}
	return &routerv1.SubmitVideoResponse{Job: jobOf(&view), Provenance: provenanceOf(ctx, caller.Provenance, served, completion.Final{})}, nil
}

// GetJob says how far a job is.
func (s *MediaServer) GetJob(ctx context.Context, in *routerv1.GetJobRequest) (*routerv1.GetJobResponse, error) {
	caller := s.Caller(ctx)
	view, err := s.Jobs.Get(ctx, caller, in.GetId())
	if err != nil {
		return nil, completion.Discreet(err, caller.Provenance)
	}
	return &routerv1.GetJobResponse{Job: jobOf(&view)}, nil
}

// watchPause is between looks at a job that is watched. The use case asks the provider less often, if need be.
const watchPause = 2 * time.Second

// WatchJob tells of each change of a job, and ends with it.
func (s *MediaServer) WatchJob(ctx context.Context, in *routerv1.WatchJobRequest, stream routerv1connect.MediaServiceWatchJobServerStream) error {
	caller := s.Caller(ctx)
	var last *routerv1.Job
	ticker := time.NewTicker(watchPause)
	defer ticker.Stop()
	for {
		view, err := s.Jobs.Get(ctx, caller, in.GetId())
		if err != nil {
			return completion.Discreet(err, caller.Provenance)
		}
		if job := jobOf(&view); !proto.Equal(job, last) {
			if err := stream.Send(&routerv1.WatchJobResponse{Job: job}); err != nil {
				return err
			}
			last = job
		}
		if view.Status.Final() {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// CancelJob asks for a job's end.
func (s *MediaServer) CancelJob(ctx context.Context, in *routerv1.CancelJobRequest) (*routerv1.CancelJobResponse, error) {
	caller := s.Caller(ctx)
	view, err := s.Jobs.Cancel(ctx, caller, in.GetId())
	if err != nil {
		return nil, completion.Discreet(err, caller.Provenance)
	}
	return &routerv1.CancelJobResponse{Job: jobOf(&view)}, nil
}

// labeled is what every request of the service has besides its input.
type labeled interface {
	proto.Message
	GetModel() string
	GetTags() map[string]string
	GetSession() string
	GetUser() string
}

func mediaRequest(ctx context.Context, op completion.Operation, in labeled, prompt *completion.Prompt) *completion.Request {
	return &completion.Request{
		ID: requestIDOf(ctx), Dialect: completion.Typed, Operation: op, Model: in.GetModel(),
		Decode: func() (*completion.Prompt, error) { return prompt, nil },
		Tags:   in.GetTags(), Session: in.GetSession(), User: in.GetUser(), InputBytes: proto.Size(in),
	}
}

// pictures takes an answer that is pictures.
type pictures struct {
	served completion.Served
	list   []completion.Picture
	final  completion.Final
}

func (p *pictures) Begin(served completion.Served) error { p.served = served; return nil }

func (p *pictures) Chunk(c *completion.Chunk) error {
	if c.Result != nil {
		p.list = append(p.list, c.Result.Pictures...)
	}
	return nil
}

func (p *pictures) End(final completion.Final) error { p.final = final; return nil }

var jobStatuses = map[media.Status]routerv1.JobStatus{
	media.Queued: routerv1.JobStatus_JOB_STATUS_QUEUED, media.InProgress: routerv1.JobStatus_JOB_STATUS_IN_PROGRESS,
	media.Completed: routerv1.JobStatus_JOB_STATUS_COMPLETED, media.Failed: routerv1.JobStatus_JOB_STATUS_FAILED,
	media.Canceled: routerv1.JobStatus_JOB_STATUS_CANCELED,
}

func jobOf(v *media.View) *routerv1.Job {
	job := &routerv1.Job{
		Id: v.Token, RequestId: v.RequestID, Model: v.Model, Status: jobStatuses[v.Status], Progress: int32(v.Progress),
		CreateTime: timestamppb.New(v.Created), CostNanoUsd: v.CostNanoUSD, UsageEstimated: v.Estimated,
	}
	if !v.Ended.IsZero() {
		job.EndTime = timestamppb.New(v.Ended)
	}
	for i := range v.Outputs {
		o := &v.Outputs[i]
		job.Outputs = append(job.Outputs, &routerv1.JobOutput{
			Url: o.URL, MediaType: o.MediaType, Width: int32(o.Width), Height: int32(o.Height), Seconds: o.Seconds,
		})
	}
	if v.Failure != nil {
		job.ErrorClass, job.ErrorMessage = string(v.Failure.Class), v.Failure.Message
	}
	for _, u := range v.Units {
		job.Units = append(job.Units, &eventsv1.UnitCount{Name: u.Name, Milli: u.Milli})
	}
	return job
}
