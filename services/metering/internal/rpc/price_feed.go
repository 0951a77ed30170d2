package rpc

import (
	"context"
	"sync"

	meteringv1 "github.com/claviger/claviger/proto/gen/claviger/metering/v1"
	"github.com/claviger/claviger/proto/gen/claviger/metering/v1/meteringv1connect"
	"github.com/claviger/claviger/services/metering/internal/price"
)

// pricesPerPart keeps a part far below the bound of a message.
const pricesPerPart = 500

// PriceFeedServer serves PriceFeedService, the internal one.
type PriceFeedServer struct {
	Book *price.Book

	mu    sync.Mutex // also held while parts are made, so that others wait instead of making their own
	etag  string
	whole []*meteringv1.WatchPricesResponse // the book of that etag, for all who ask
}

var _ meteringv1connect.PriceFeedServiceHandler = (*PriceFeedServer)(nil)

// WatchPrices sends the price book, then every further version.
func (s *PriceFeedServer) WatchPrices(ctx context.Context, req *meteringv1.WatchPricesRequest, out meteringv1connect.PriceFeedServiceWatchPricesServerStream) error {
	return s.Book.Watch(ctx, req.GetSinceEtag(), func(news price.News) error {
		for _, message := range s.messages(news) {
			if err := out.Send(message); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *PriceFeedServer) messages(news price.News) []*meteringv1.WatchPricesResponse {
	switch {
	case len(news.Prices) == 0:
		alive := &meteringv1.PriceHeartbeat{Etag: news.To}
		return []*meteringv1.WatchPricesResponse{{Message: &meteringv1.WatchPricesResponse_Heartbeat{Heartbeat: alive}}}
	case news.From != "":
		return parts(news)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.etag != news.To {
		s.etag, s.whole = news.To, parts(news)
	}
	return s.whole
}

// parts cuts news into messages of a bounded size.
func parts(news price.News) []*meteringv1.WatchPricesResponse {
	var out []*meteringv1.WatchPricesResponse
	for from := 0; from < len(news.Prices); from += pricesPerPart {
		to := min(from+pricesPerPart, len(news.Prices))
		batch := &meteringv1.PriceBatch{FromEtag: news.From, ToEtag: news.To, Part: int32(len(out)), Last: to == len(news.Prices)}
		for i := from; i < to; i++ {
			batch.Prices = append(batch.Prices, toPrice(&price.Version{Price: news.Prices[i]}))
		}
		out = append(out, &meteringv1.WatchPricesResponse{Message: &meteringv1.WatchPricesResponse_Prices{Prices: batch}})
	}
	return out
}
