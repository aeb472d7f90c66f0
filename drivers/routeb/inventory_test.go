package routeb

import (
	"testing"

	"github.com/meter2mqtt/meter2mqtt/drivers/decodertest"
)

// better says which tests hold what a reader of Route B must do better than
// momonga, the one public library.
var better = []decodertest.Line{
	{What: "1 the meter ends the session: joined again at once", Tests: []string{
		"TestASessionLostBetweenReadingsIsJoinedAgainUnasked/the meter closes", "TestTheProgramReadsAForeignStickWithEveryFault/the meter closes",
	}},
	{What: "2 expired and not renewed", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/the session expires for good"}},
	{What: "3 renewed before the announced end", Tests: []string{"TestASessionIsRenewedBeforeItEnds", "TestTheProgramRenewsASessionOfAForeignStickBeforeItEnds"}},
	{What: "4 a join without an answer", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/the first join is not answered"}},
	{What: "5 binary and hexadecimal output, flash left alone", Tests: []string{
		"TestTheProgramReadsAForeignStickWithEveryFault/BP35C0 binary", "TestTheProgramReadsAForeignStickWithEveryFault/no ROPT, binary",
	}},
	{What: "6 register SA2 refused, all forms of ERXUDP", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/no SA2", "TestCorpusLines"}},
	{What: "7 the right one of several PANs", Tests: []string{
		"TestTheProgramReadsAForeignStickWithEveryFault/a neighbour before", "TestTheProgramReadsAForeignStickWithEveryFault/a neighbour after", "TestCorpusScans",
	}},
	{What: "8 the PAN is remembered", Tests: []string{"TestARestartOfTheProgramJoinsAForeignStickFromItsMemory", "TestAPANThatIsNoMoreIsLookedForAgain"}},
	{What: "9 partial answers are used, what is refused is not asked for again", Tests: []string{"TestWhatAMeterRefusesIsNotAskedForAgain", "TestCorpusFrames"}},
	{What: "10 properties in any order", Tests: []string{"TestOnlyTheAnswerIsTakenForOne/in another order"}},
	{What: "11 history that was never chosen has no rows", Tests: []string{"TestCorpusFrames"}},
	{What: "12 overflow is no value", Tests: []string{"TestSentinelsAreAbsent", "TestCorpusFrames"}},
	{What: "13 exact energies", Tests: []string{"TestSentinelsAreAbsent", "TestACoefficientOfNoughtCountsAsOne"}},
	{What: "14 history is dated by the meter, in Japan's time", Tests: []string{"TestHistoryOfDaysAndMinutes", "TestTheProgramReadsADayOfAForeignStick"}},
	{What: "15 instance lists and node profiles are taken", Tests: []string{
		"TestANodeIsAskedToAnnounceItsInstancesAndTheMeterAmongThemIsRead", "TestTheInstanceListOfANodeIsExplained", "TestANodeWithoutAMeterIsTold",
	}},
	{What: "15 INF_REQ", Tests: []string{"TestANodeIsAskedToAnnounceItsInstancesAndTheMeterAmongThemIsRead", "TestANodeThatTellsNoInstancesIsReadAllTheSame"}},
	{What: "15 SetI and SetGet", Tests: []string{"TestSettingsAreWrittenWithEachService", "TestCorpusRequests"}},
	{What: "15 81, 97 and 98 are written", Tests: []string{
		"TestSettingsAreWrittenWithEachService", "TestParametersAreSetAndReadBack",
		"TestTheProgramWritesToAForeignStick/the place", "TestTheProgramWritesToAForeignStick/the clock",
	}},
	{What: "15 83, 86, 89 and 8B to 8E are read", Tests: []string{"TestPropertiesOfMakerAndProductAreRead", "TestTextsAndDatesOfProperties"}},
	{What: "16 air time is counted", Tests: []string{"TestTheAirTimeOfTheLastHourCounts", "TestASessionWantsRestWhileAirTimeIsScarce"}},
	{What: "17 silence is noticed", Tests: []string{
		"TestASessionWithoutAWordIsTakenForLost", "TestAMeterThatFallsSilentIsGivenUpInSecondsAndComesBack", "TestAStickWhoseMeterIsMuteIsGivenUpInSeconds",
	}},
	{What: "18 gaps are filled", Tests: []string{"TestTheProgramFillsMissedDaysFromAForeignStick", "TestDaysMissedOfARouteBMeterAreFilledWithItsHalfHours"}},
	{What: "19 J11 modules", Tests: []string{"TestTheProgramReadsAForeignBinaryStickWithEveryFault/all together"}},
	{What: "19 UDP", Tests: []string{
		"TestARouteBMeterIsReadOverUDPWithEveryFault", "TestAnnouncementsAreHeardOverUDP", "TestAMeterOverUDPThatIsNotThereIsGivenUp",
		"TestEachReadOfAUDPLineIsOneDatagramOfThePeer", "TestTheProgramReadsAMeterOverUDP",
	}},
	{What: "19 several meters on one stick", Tests: []string{
		"TestTwoMetersHaveAStickInTurns", "TestAMeterAloneKeepsTheStick", "TestADeadMeterOfAStickLeavesItToTheOther/never found",
		"TestADeadMeterOfAStickLeavesItToTheOther/never accepted", "TestAMuteMeterOfAStickLeavesItToTheOther",
		"TestTheMeterThatHasTheStickIsHeardMeanwhile", "TestMissedDaysOfBothMetersOfAStickAreFilled",
		"TestParametersOfBothMetersOfAStickAreSet", "TestTheProgramReadsTwoMetersThroughOneStick", "TestTheProgramSharesAForeignStick",
	}},
	{What: "20 no other service's answer is taken", Tests: []string{"TestOnlyTheAnswerIsTakenForOne/to a setting"}},
	{What: "21 what was asked when the session ended is asked again", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/the session expires and comes back"}},
}

// same says which tests hold what momonga offers, and a reader of Route B must too.
var same = []decodertest.Line{
	{What: "port, speed, scan and join retries", Tests: []string{
		"TestMistakesOfTheConfigurationAreNamedAndNoSecretIsShown", "TestTheProgramReadsAForeignStickWithEveryFault/found on the third scan",
		"TestTheProgramReadsAForeignStickWithEveryFault/the first joins fail",
	}},
	{What: "patience for answers, transmitting and between requests", Tests: []string{
		"TestAnAnswerThatDoesNotComeIsGivenUpInSeconds", "TestTheProgramReadsAForeignStickWithEveryFault/limited after each datagram",
		"TestMistakesOfTheConfigurationAreNamedAndNoSecretIsShown",
	}},
	{What: "unit, coefficient and digits", Tests: []string{"TestCorpusFrames", "TestACoefficientOfNoughtCountsAsOne"}},
	{What: "LQI and RSSI", Tests: []string{"TestCorpusLines"}},
	{What: "open, close, reopen", Tests: []string{
		"TestTheProgramReadsAForeignStickWithEveryFault/BP35C2", "TestARestartJoinsTheRememberedPANWithoutAScan", "TestASessionLostBetweenReadingsIsJoinedAgainUnasked",
	}},
	{What: "operation, fault, place, version, serial number, maker, clock, Route B id", Tests: []string{
		"TestCorpusFrames", "TestTextsAndDatesOfProperties", "TestLocationsAreWrittenAsTheyAreRead",
	}},
	{What: "property maps", Tests: []string{"TestCorpusFrames", "TestWhatAMeterRefusesIsNotAskedForAgain"}},
	{What: "totals, power, currents", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/BP35C2", "TestSentinelsAreAbsent"}},
	{What: "totals of the last minute and of a fixed time", Tests: []string{"TestCorpusFrames", "TestNotificationsComeUnasked"}},
	{What: "history 1 and its day", Tests: []string{
		"TestHistoryOfDaysAndMinutes", "TestTheProgramReadsADayOfAForeignStick", "TestTheProgramWritesToAForeignStick/the day of history",
	}},
	{What: "history 2 and its time", Tests: []string{"TestCorpusFrames", "TestTheProgramWritesToAForeignStick/half-hours"}},
	{What: "history 3 and its time", Tests: []string{"TestHistoryOfDaysAndMinutes", "TestTheProgramWritesToAForeignStick/minutes"}},
	{What: "several properties a request, read and set", Tests: []string{
		"TestCorpusRequests", "TestOnlyTheAnswerIsTakenForOne", "TestTheProgramReadsAForeignStickWithEveryFault/one property a request",
	}},
	{What: "notifications, and the answer to those that want one", Tests: []string{
		"TestNotificationsComeUnasked", "TestTheProgramReadsAForeignStickWithEveryFault/notifications that want an answer",
	}},
	{What: "logs that mask secrets", Tests: []string{"TestIDAndPasswordOfAForeignStickAreNowhere", "TestAWrongPasswordIsAnErrorThatShowsNoSecret"}},
	{What: "errors: not found, not accepted, silent, busy, not sent, refused, unreadable", Tests: []string{
		"TestADeadMeterOfAStickLeavesItToTheOther/never found", "TestAWrongPasswordIsAnErrorThatShowsNoSecret",
		"TestAStickWhoseMeterIsMuteIsGivenUpInSeconds", "TestTheProgramReadsAForeignStickWithEveryFault/busy",
		"TestTheProgramReadsAForeignStickWithEveryFault/a datagram is not sent", "TestTheProgramWritesToAForeignStick/what this meter does not let set",
		"TestFramesThatEndTooEarly",
	}},
	{What: "a session is told to end, also when the meter does not answer that", Tests: []string{"TestTheProgramReadsAForeignStickWithEveryFault/SKTERM is not answered"}},
	{What: "momonga reads our simulated module", Tests: []string{"TestMomongaReadsTheSimulatedModule"}},
}

func TestTheInventorysTestsAreThere(t *testing.T) {
	for _, inventory := range [][]decodertest.Line{better, same} {
		decodertest.Hold(t, inventory, "*_test.go", "../sim/routeb*_test.go", "../transport/udp*_test.go",
			"../../bridge/*routeb*_test.go", "../../bridge/commandline/*routeb*_test.go")
	}
}
