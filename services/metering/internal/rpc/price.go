package rpc

import (
	"context"

	"github.com/claviger/claviger/pkg/authn"
	"github.com/claviger/claviger/pkg/fault"
	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/internal/price"
)

// PriceServer serves PriceService.
type PriceServer struct{ Book *price.Book }

var _ meteringv1connect.PriceServiceHandler = (*PriceServer)(nil)

// pricePage is where a page of ListPrices begins.
type pricePage struct {
	Model     string
	ValidFrom int64 // microseconds
}

// ListPrices lists the versions of the price book, newest first for each model.
func (s *PriceServer) ListPrices(ctx context.Context, req *meteringv1.ListPricesRequest) (*meteringv1.ListPricesResponse, error) {
	if err := checkTexts(req); err != nil {
		return nil, err
	}
	l := price.List{Model: req.GetModel(), PageSize: int(req.GetPageSize())}
	asked := digest(req, func(r *meteringv1.ListPricesRequest) { r.PageToken, r.PageSize = "", 0 })
	if req.GetPageToken() != "" {
		var at pricePage
		if err := readToken(req.GetPageToken(), asked, &at); err != nil {
			return nil, err
		}
		l.After = &price.VersionKey{Model: at.Model, ValidFrom: at.ValidFrom}
	}
	versions, more, err := s.Book.List(ctx, l)
	if err != nil {
		return nil, err
	}
	res := &meteringv1.ListPricesResponse{}
	for i := range versions {
		res.Prices = append(res.Prices, toPrice(&versions[i]))
	}
	if more {
		last := versions[len(versions)-1]
		res.NextPageToken = token(asked, pricePage{Model: last.Model, ValidFrom: last.ValidFrom.UnixMicro()})
	}
	return res, nil
}

// CreatePrice adds a version. The row itself says who added it and when, and is never changed: it is its
// own audit.
func (s *PriceServer) CreatePrice(ctx context.Context, req *meteringv1.CreatePriceRequest) (*meteringv1.CreatePriceResponse, error) {
	if err := checkTexts(req); err != nil {
		return nil, err
	}
	p := authn.FromContext(ctx)
	in := req.GetPrice()
	if in.GetValidFrom().CheckValid() != nil {
		return nil, price.ErrInvalid.Violating(fault.Violation{Field: "price.valid_from", Description: "is no time"})
	}
	v, err := s.Book.Create(ctx, fromPrice(in), p.Actor(), price.Idempotency{
		OrgID: p.OrgID, Method: meteringv1connect.PriceServiceCreatePriceProcedure, Key: req.GetIdempotencyKey(),
		Digest: digest(req, func(r *meteringv1.CreatePriceRequest) {
			r.IdempotencyKey = ""
			if r.Price != nil {
				r.Price.Id = "" // given by the service
			}
		}),
	})
	if err != nil {
		return nil, err
	}
	return &meteringv1.CreatePriceResponse{Price: toPrice(&v)}, nil
}
