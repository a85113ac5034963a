package worker

import "time"

// SetRenewAfter makes w renew its credentials so long after Run.
func (w *Worker) SetRenewAfter(d time.Duration) { w.renewAfter = d }
