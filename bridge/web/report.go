package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// reportTimeout is how long a report may take: each frame in it is masked and
// decoded again.
const reportTimeout = 30 * time.Second

// maxReport bounds what is taken for a report: eight frames of 16 kB a meter, in
// hexadecimal digits, of many meters.
const maxReport = 256 << 20

// report gives the file for a bug report, to be saved.
func (s *Server) report(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if s.Report == nil || s.Report(&b) != nil {
		http.Error(w, "there is no report", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="meter2mqtt-report.jsonl"`)
	_, _ = w.Write(b.Bytes()) // a visitor who has gone hears nothing
}

// FetchReport writes the report of the gateway that has the state folder dir to w.
func FetchReport(ctx context.Context, dir string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	answer, err := askSocket(ctx, dir, "/report")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway in %s gives no report: %s", dir, answer.Status)
	}
	_, err = io.Copy(w, io.LimitReader(answer.Body, maxReport))
	return err
}
