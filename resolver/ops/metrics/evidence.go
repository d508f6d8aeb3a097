package metrics

func (s scrape) sinks(all []Sink) {
	for _, k := range all {
		s.put(sinkOffered, float64(k.Offered), k.Name)
		s.put(sinkKept, float64(k.Delivered), k.Name)
		s.put(sinkRepeated, float64(k.Repeated), k.Name)
		for _, d := range k.Dropped {
			s.put(sinkDropped, float64(d.Count), k.Name, d.Reason)
		}
		s.put(sinkWaiting, float64(k.Waiting), k.Name)
		s.put(sinkSpool, float64(k.SpoolBytes), k.Name)
		s.put(sinkFailing, truth(k.Failing), k.Name)
	}
}

func (s scrape) store(k *Store) {
	if k == nil {
		return
	}
	s.put(storeBytes, float64(k.Bytes))
	if !k.Oldest.IsZero() {
		s.put(storeOldest, seconds(k.Oldest))
	}
	s.put(storeReduced, float64(k.Reduced))
	s.put(storeRemoved, float64(k.Removed))
	s.put(storeEarly, float64(k.Early))
	s.put(storeDamaged, float64(k.Damaged))
}

func (s scrape) alerts(a Alerts) {
	for _, x := range a.Conditions {
		s.put(alertsTold, float64(x.Told), x.Condition)
		s.put(alertsOpen, float64(x.Open), x.Condition)
	}
	s.put(alertsSuppressed, float64(a.Suppressed))
}
